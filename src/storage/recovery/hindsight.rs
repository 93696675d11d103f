//! What the frames behind one say of it. Kept are truncations alone, of which there are few.

use std::collections::BTreeMap;

use crate::model::TopicPartition;
use crate::storage::commit_log::frame::{FrameHeader, kind};

/// A segment's base offset and a byte position in it.
type Place = (i64, u64);

/// The truncations of a stream, after all its frames have been noted.
#[derive(Debug, Default)]
pub(super) struct Hindsight {
    partitions: BTreeMap<TopicPartition, Vec<Truncation>>,
}

#[derive(Clone, Copy, Debug)]
struct Truncation {
    sequence: u64,
    /// The first place that it or a later one cuts. Grows along the list.
    cut: Place,
    leader_epoch: i32,
    done: bool,
}

impl Hindsight {
    /// Takes note of the next frame of the stream.
    pub(super) fn note(&mut self, id: TopicPartition, header: &FrameHeader) {
        let place = (header.segment, header.position);
        match header.kind {
            kind::TRUNCATE => {
                let list = self.partitions.entry(id).or_default();
                for earlier in list.iter_mut().rev().take_while(|earlier| earlier.cut > place) {
                    earlier.cut = place;
                }
                // Those before it are done already, by the one that followed them.
                if let Some(last) = list.last_mut() {
                    last.done = true;
                }
                list.push(Truncation {
                    sequence: header.sequence,
                    cut: place,
                    leader_epoch: header.leader_epoch,
                    done: false,
                });
            }
            kind::DATA => {
                if let Some(last) = self.partitions.get_mut(&id).and_then(|list| list.last_mut()) {
                    last.done |= header.leader_epoch > last.leader_epoch;
                }
            }
            _ => {}
        }
    }

    /// Data that a later truncation cuts. It must not be written even for a moment: other data may stand in its place by
    /// now, of which there is no frame.
    pub(super) fn is_gone(&self, id: TopicPartition, data: &FrameHeader) -> bool {
        let later = self.partitions.get(&id).and_then(|list| {
            list.get(list.partition_point(|truncation| truncation.sequence <= data.sequence))
        });
        later.is_some_and(|later| (data.segment, data.position) >= later.cut)
    }

    /// A truncation whose files were cut before the partition went on, as something behind it shows. It must not be
    /// repeated: a file that was begun since may have the name of one that it cut, and hold data of which there is no
    /// frame.
    pub(super) fn is_done(&self, id: TopicPartition, truncation: &FrameHeader) -> bool {
        let list = self.partitions.get(&id).map(Vec::as_slice).unwrap_or_default();
        let place = list.binary_search_by_key(&truncation.sequence, |found| found.sequence).ok();
        place.and_then(|place| list.get(place)).is_some_and(|found| found.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PartitionIndex, TopicId};
    use crate::runtime::sim::SimRandom;

    const ID: TopicPartition = TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(0) };

    /// The same by looking at all that follows.
    fn twin(frames: &[FrameHeader], at: usize) -> bool {
        let header = &frames[at];
        let mut later = frames[at + 1..].iter();
        let place = |header: &FrameHeader| (header.segment, header.position);
        match header.kind {
            kind::DATA => later.any(|later| later.kind == kind::TRUNCATE && place(header) >= place(later)),
            _ => later.any(|later| {
                later.kind == kind::TRUNCATE
                    || (later.kind == kind::DATA && later.leader_epoch > header.leader_epoch)
            }),
        }
    }

    #[test]
    fn agrees_with_a_look_at_all_that_follows() {
        for seed in 0..500 {
            let mut random = SimRandom::new(seed);
            let mut leader_epoch = 1;
            let frames: Vec<FrameHeader> = (0..random.between(1, 30))
                .map(|sequence| {
                    leader_epoch += i32::from(random.below(4) == 0);
                    FrameHeader {
                        sequence: sequence + 10,
                        kind: if random.below(3) == 0 { kind::TRUNCATE } else { kind::DATA },
                        segment: i64::try_from(random.below(3)).expect("small"),
                        position: random.below(5),
                        leader_epoch,
                        ..FrameHeader::blank()
                    }
                })
                .collect();
            let mut hindsight = Hindsight::default();
            for header in &frames {
                hindsight.note(ID, header);
            }
            for (at, header) in frames.iter().enumerate() {
                let found = match header.kind {
                    kind::DATA => hindsight.is_gone(ID, header),
                    _ => hindsight.is_done(ID, header),
                };
                assert_eq!(found, twin(&frames, at), "seed {seed}, frame {at}");
            }
        }
    }
}
