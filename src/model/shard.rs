//! Which shard owns a partition.

use super::TopicId;

/// One shard among all of a broker's. Bounds: `number` is below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardPlace {
    pub number: u16,
    pub count: u16,
}

impl ShardPlace {
    /// The only one that there is.
    pub const ONLY: Self = Self { number: 0, count: 1 };

    /// The number of the shard that owns a partition: a function of topic, partition and the count of shards alone. The partitions
    /// of a topic follow one another round the shards, beginning where its id says.
    #[must_use]
    pub fn owner_of(self, topic: TopicId, partition: i32) -> u16 {
        let [a, b, c, d, e, f, g, h, ..] = topic.0;
        let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let number = first.wrapping_add(u64::from(partition.cast_unsigned())) % u64::from(self.count.max(1));
        u16::try_from(number).unwrap_or(0)
    }

    /// Whether that is this shard.
    #[must_use]
    pub fn owns(self, topic: TopicId, partition: i32) -> bool {
        self.count == 1 || self.owner_of(topic, partition) == self.number
    }

    /// The numbers of all others.
    pub fn others(self) -> impl Iterator<Item = u16> {
        (0..self.count).filter(move |&number| number != self.number)
    }
}

impl Default for ShardPlace {
    fn default() -> Self {
        Self::ONLY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partitions_of_a_topic_are_spread_evenly_and_each_has_one_owner() {
        for count in 1..=7 {
            for topic in 0..20 {
                let topic = TopicId([topic * 11; 16]);
                let mut owned = vec![0; usize::from(count)];
                for partition in 0..i32::from(count) * 3 {
                    let owners: Vec<u16> = (0..count)
                        .filter(|&number| ShardPlace { number, count }.owns(topic, partition))
                        .collect();
                    assert_eq!(owners, [ShardPlace { number: 0, count }.owner_of(topic, partition)]);
                    owned[usize::from(owners[0])] += 1;
                }
                assert_eq!(owned, vec![3; usize::from(count)]);
            }
        }
        assert!(ShardPlace::ONLY.owns(TopicId([9; 16]), -1));
        assert_eq!(ShardPlace { number: 1, count: 3 }.others().collect::<Vec<_>>(), [0, 2]);
    }
}
