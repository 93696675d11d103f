use proptest::prelude::*;

use super::*;
use crate::client::Acks;
use crate::model::batch::BatchHeader;
use crate::protocol::records::Batch as OpenBatch;

const PARTITION: PartitionIndex = PartitionIndex(0);

const LONG: Duration = Duration::from_secs(600);

fn settings() -> ProducerSettings {
    ProducerSettings { acks: Acks::All, delivery_timeout: LONG, ..ProducerSettings::default() }
}

/// The same after the broker has stored a first batch under the identity: `count` batches wait, numbered from 1.
fn known_lanes(count: u64, now: Instant) -> Lanes {
    let mut lanes = lanes(count + 1, now);
    let (first, _) = send(&mut lanes, now).unwrap();
    assert_eq!(send(&mut lanes, now), None, "the first goes alone");
    store(&mut lanes, first, now);
    assert!(lanes.poll_delivery().is_some());
    lanes
}

/// Lanes with an identity, and `count` closed batches of one record each.
fn lanes(count: u64, now: Instant) -> Lanes {
    let mut lanes = Lanes::new(settings(), Duration::from_millis(50));
    for number in 0..count {
        add(&mut lanes, number, now);
    }
    assert!(lanes.needs_identity() && lanes.poll_ready(now).is_empty());
    lanes.handle_identity(ProducerId(7), ProducerEpoch(0));
    lanes
}

fn add(lanes: &mut Lanes, number: u64, now: Instant) {
    let value = number.to_be_bytes();
    let record = NewRecord { value: Some(&value), ..NewRecord::default() };
    lanes.push("t", PARTITION, &record, now).unwrap();
    lanes.close_due(now, Duration::ZERO);
}

/// Sends the lane's next batch: its number, and its first sequence number.
fn send(lanes: &mut Lanes, now: Instant) -> Option<(BatchId, i32)> {
    let lane = lanes.poll_ready(now).first().copied()?;
    let batch = lanes.poll_send(lane)?;
    let header = BatchHeader::check(lanes.bytes(lane, batch)).unwrap();
    Some((batch, header.base_sequence))
}

fn fail(lanes: &mut Lanes, batch: BatchId, code: ErrorCode, now: Instant) {
    let error = Error::refused(code.code(), "", None);
    lanes.handle_answer(LaneId(0), batch, Answer::Failed { error, uncertain: false }, now);
}

fn lose(lanes: &mut Lanes, batch: BatchId, now: Instant) {
    let error = Error::Closed { address: String::new() };
    lanes.handle_answer(LaneId(0), batch, Answer::Failed { error, uncertain: true }, now);
}

fn store(lanes: &mut Lanes, batch: BatchId, now: Instant) {
    lanes.handle_answer(LaneId(0), batch, Answer::Stored(Some(Offset(1))), now);
}

fn later(now: Instant, seconds: u64) -> Instant {
    now + Duration::from_secs(seconds)
}

#[test]
fn what_comes_back_is_sent_again_in_order_once_nothing_is_on_its_way() {
    let now = Instant::now();
    let mut lanes = known_lanes(4, now);
    let sent: Vec<_> = (0..3).map(|_| send(&mut lanes, now).unwrap()).collect();
    assert_eq!(sent.iter().map(|&(_, sequence)| sequence).collect::<Vec<_>>(), [1, 2, 3]);
    store(&mut lanes, sent[0].0, now);
    fail(&mut lanes, sent[1].0, ErrorCode::NotLeaderOrFollower, now);
    assert_eq!(send(&mut lanes, later(now, 5)), None, "one is on its way still");
    fail(&mut lanes, sent[2].0, ErrorCode::OutOfOrderSequenceNumber, now);
    assert_eq!(send(&mut lanes, now), None, "a pause after an error");
    assert!(lanes.next_deadline().unwrap() <= now + Duration::from_millis(50), "one pause for both");
    let again: Vec<_> = std::iter::from_fn(|| send(&mut lanes, later(now, 1))).collect();
    assert_eq!(again.iter().map(|&(_, sequence)| sequence).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(lanes.sequence_resets(), 0);
}

#[test]
fn kip_98_a_batch_whose_answer_was_lost_keeps_its_numbers_and_a_duplicate_is_a_success() {
    let now = Instant::now();
    let mut lanes = lanes(1, now);
    let (batch, sequence) = send(&mut lanes, now).unwrap();
    lose(&mut lanes, batch, now);
    assert_eq!(send(&mut lanes, later(now, 1)), Some((batch, sequence)));
    fail(&mut lanes, batch, ErrorCode::DuplicateSequenceNumber, now);
    assert!(matches!(lanes.poll_delivery(), Some(Delivery { outcome: Ok(None), .. })));
    assert!(lanes.is_empty());
    assert_eq!(lanes.queued_bytes(), 0);
}

#[test]
fn after_a_batch_is_refused_for_good_the_rest_goes_on_under_a_new_id() {
    let now = Instant::now();
    let mut lanes = known_lanes(3, now);
    let (first, _) = send(&mut lanes, now).unwrap();
    let (second, _) = send(&mut lanes, now).unwrap();
    fail(&mut lanes, first, ErrorCode::MessageTooLarge, now);
    assert!(matches!(lanes.poll_delivery(), Some(Delivery { first_record: 1, outcome: Err(_), .. })));
    assert!(!lanes.needs_identity(), "the second is on its way");
    lose(&mut lanes, second, now);
    assert!(!lanes.needs_identity(), "the second may be stored");
    let soon = later(now, 1);
    assert_eq!(send(&mut lanes, soon), Some((second, 2)), "asked once more with its old numbers");
    assert_eq!(send(&mut lanes, soon), None, "nothing new meanwhile");
    fail(&mut lanes, second, ErrorCode::OutOfOrderSequenceNumber, soon);
    assert!(lanes.needs_identity());
    lanes.handle_identity(ProducerId(8), ProducerEpoch(0));
    let much_later = later(now, 10);
    assert_eq!(send(&mut lanes, much_later), Some((second, 0)));
    store(&mut lanes, second, much_later);
    assert_eq!(send(&mut lanes, much_later).map(|(_, sequence)| sequence), Some(1));
    assert_eq!(lanes.sequence_resets(), 0);
}

#[test]
fn a_broker_that_lost_count_is_counted() {
    let now = Instant::now();
    let mut lanes = lanes(1, now);
    let (batch, _) = send(&mut lanes, now).unwrap();
    fail(&mut lanes, batch, ErrorCode::OutOfOrderSequenceNumber, now);
    assert_eq!((lanes.sequence_resets(), lanes.needs_identity()), (1, true));
}

#[test]
fn a_batch_is_given_up_when_its_time_is_over() {
    let now = Instant::now();
    let mut lanes = lanes(1, now);
    lanes.handle_unsent(LaneId(0), Error::Closed { address: String::new() }, later(now, 599));
    assert!(lanes.poll_delivery().is_none());
    lanes.handle_unsent(LaneId(0), Error::Closed { address: String::new() }, later(now, 600));
    let delivery = lanes.poll_delivery().unwrap();
    assert!(matches!(delivery.outcome, Err(Error::GaveUp { .. })));
    assert!(lanes.is_empty());
}

#[test]
fn a_batch_closes_when_it_is_full_or_old_and_a_record_too_large_is_refused() {
    let now = Instant::now();
    let small = ProducerSettings { batch_bytes: 200, request_bytes_max: 500, ..settings() };
    let mut lanes = Lanes::new(small, Duration::ZERO);
    let value = vec![1; 100];
    let record = NewRecord { value: Some(&value), ..NewRecord::default() };
    assert_eq!(lanes.push("t", PARTITION, &record, now).unwrap(), (0, false));
    assert_eq!(lanes.push("t", PARTITION, &record, now).unwrap(), (1, true));
    let value = vec![1; 500];
    let large = NewRecord { value: Some(&value), ..NewRecord::default() };
    assert!(matches!(lanes.push("t", PARTITION, &large, now), Err(Error::RecordTooLarge { .. })));
    assert_eq!(lanes.push("t", PARTITION, &record, now).unwrap(), (2, false));
    lanes.close_due(now + Duration::from_millis(4), Duration::from_millis(5));
    lanes.handle_identity(ProducerId(1), ProducerEpoch(0));
    let (first, _) = send(&mut lanes, now).unwrap();
    store(&mut lanes, first, now);
    assert!(send(&mut lanes, now).is_some());
    assert_eq!(send(&mut lanes, now), None);
    lanes.close_due(now + Duration::from_millis(5), Duration::from_millis(5));
    assert!(send(&mut lanes, now).is_some());
}

/// A broker's view of one partition, with the rules of KIP-98 as Kafka 4 has them.
#[derive(Default)]
struct Broker {
    log: Vec<u64>,
    /// Producer id, then of the last five batches their first sequence number; the next one due.
    known: Option<(i64, VecDeque<i32>, i32)>,
}

impl Broker {
    fn append(&mut self, bytes: &[u8]) -> Option<ErrorCode> {
        let batch = OpenBatch::check(bytes).unwrap();
        let (id, sequence) = (batch.header.producer_id.0, batch.header.base_sequence);
        let (known_id, recent, next) = self.known.get_or_insert_with(|| (id, VecDeque::new(), sequence));
        if *known_id != id {
            (*known_id, *next) = (id, sequence);
            recent.clear();
        }
        if recent.contains(&sequence) {
            return Some(ErrorCode::DuplicateSequenceNumber);
        }
        if sequence != *next {
            return Some(ErrorCode::OutOfOrderSequenceNumber);
        }
        let mut scratch = Vec::new();
        for record in batch.records(&mut scratch, 1 << 20).unwrap() {
            let value = record.unwrap().value.unwrap();
            self.log.push(u64::from_be_bytes(value.try_into().unwrap()));
        }
        *next = sequence_plus(sequence, batch.header.record_count);
        recent.push_back(sequence);
        if recent.len() > 5 {
            recent.pop_front();
        }
        None
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Served,
    /// Refused, may be tried again.
    Refused,
    /// The connection fails before the broker has it, with all that is on its way.
    LostBefore,
    /// The same behind the broker.
    LostAfter,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Served),
        1 => Just(Fate::Refused),
        1 => Just(Fate::LostBefore),
        1 => Just(Fate::LostAfter),
    ];
    proptest::collection::vec(fate, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is refused or lost on the way: every record is stored once, in order, and said to be.
    #[test]
    fn kip_98_every_record_is_stored_once_and_in_order(fates in fates(), in_flight_max in 1..=5_usize) {
        let mut now = Instant::now();
        let mut lanes = lanes(20, now);
        let mut broker = Broker::default();
        let mut fates = fates.into_iter();
        let mut steps = 0;
        while !lanes.is_empty() {
            steps += 1;
            prop_assert!(steps < 1000, "no end");
            now += Duration::from_secs(2);
            if lanes.needs_identity() {
                lanes.handle_identity(ProducerId(100 + steps), ProducerEpoch(0));
            }
            let flight: Vec<BatchId> =
                std::iter::from_fn(|| send(&mut lanes, now).map(|(batch, _)| batch)).take(in_flight_max).collect();
            let mut lost = false;
            for batch in flight {
                let bytes = lanes.bytes(LaneId(0), batch).to_vec();
                let fate = if lost { Fate::LostBefore } else { fates.next().unwrap_or(Fate::Served) };
                match fate {
                    Fate::Served => match broker.append(&bytes) {
                        None => store(&mut lanes, batch, now),
                        Some(code) => fail(&mut lanes, batch, code, now),
                    },
                    Fate::Refused => fail(&mut lanes, batch, ErrorCode::NotLeaderOrFollower, now),
                    Fate::LostBefore => lose(&mut lanes, batch, now),
                    Fate::LostAfter => {
                        broker.append(&bytes);
                        lose(&mut lanes, batch, now);
                    }
                }
                lost |= matches!(fate, Fate::LostBefore | Fate::LostAfter);
            }
        }
        prop_assert_eq!(broker.log, (0..20).collect::<Vec<u64>>());
        // Not in order: the answer to a batch may be lost, and its successor's come.
        let mut said: Vec<u64> = std::iter::from_fn(|| lanes.poll_delivery())
            .filter(|delivery| delivery.outcome.is_ok())
            .map(|delivery| delivery.first_record)
            .collect();
        said.sort_unstable();
        prop_assert_eq!(said, (0..20).collect::<Vec<u64>>());
        prop_assert_eq!(lanes.sequence_resets(), 0);
        prop_assert_eq!(lanes.queued_bytes(), 0);
    }
}
