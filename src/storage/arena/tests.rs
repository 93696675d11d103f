use super::*;
use crate::model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use crate::runtime::memory::ArenaMemory;
use crate::storage::arena::table::ARENA_BYTES_MIN;

struct Plain(Vec<u8>);

impl ArenaMemory for Plain {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn read(&self, position: usize, len: usize) -> &[u8] {
        &self.0[position..position + len]
    }
    fn write(&mut self, position: usize, bytes: &[u8]) {
        self.0[position..position + bytes.len()].copy_from_slice(bytes);
    }
    fn publish(&mut self, position: usize, value: u64) {
        self.write(position, &value.to_le_bytes());
    }
    fn load(&self, position: usize) -> u64 {
        u64::from_le_bytes(self.0[position..position + 8].try_into().unwrap())
    }
    fn zero(&mut self, position: usize, len: usize) {
        self.0[position..position + len].fill(0);
    }
    fn touch(&mut self, _position: usize, _len: usize) -> crate::runtime::Result<()> {
        Ok(())
    }
}

fn label(position: u64) -> ChunkLabel {
    ChunkLabel {
        topic_partition: TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(3) },
        leader_epoch: LeaderEpoch(2),
        segment: Offset(100),
        position,
    }
}

fn arena(slabs: usize) -> ChunkArena<Plain> {
    ChunkArena::new(Plain(vec![0; ARENA_BYTES_MIN + slabs * (index(SLAB_BYTES) + 4096)]))
}

#[test]
fn chunks_of_all_classes_never_overlap_and_all_come_back() {
    let mut arena = arena(8);
    let capacity = arena.capacity_bytes();
    let mut held: Vec<(ChunkId, u64)> = Vec::new();
    let mut seed = 1u64;
    for step in 0..20_000u64 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if seed >> 33 & 1 == 0 {
            let class = Class((seed >> 40).to_le_bytes()[0] % 4);
            if let Some(chunk) = arena.allocate(class, &label(step * 4096)) {
                let (from, to) = (arena.place_of(chunk), arena.place_of(chunk) + class.bytes());
                for &(other, bytes) in &held {
                    let start = arena.place_of(other);
                    assert!(to <= start || start + bytes <= from);
                }
                held.push((chunk, class.bytes()));
            }
        } else if !held.is_empty() {
            let (chunk, _) = held.swap_remove(index(seed >> 35) % held.len());
            arena.disown(chunk);
        }
        let used: u64 = held.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(arena.free_bytes(), capacity - used);
    }
    for (chunk, _) in held {
        arena.disown(chunk);
    }
    assert_eq!(arena.free_bytes(), capacity);
}

#[test]
fn a_pinned_chunk_is_not_handed_out_before_the_last_pin_goes() {
    let mut arena = arena(0);
    let chunk = arena.allocate(Class::LARGEST, &label(0)).unwrap();
    arena.pin(chunk);
    arena.pin(chunk);
    arena.disown(chunk);
    arena.unpin(chunk);
    assert!(arena.allocate(Class::SMALLEST, &label(0)).is_none());
    arena.unpin(chunk);
    assert!(arena.allocate(Class::SMALLEST, &label(0)).is_some());
}

#[test]
fn the_table_says_what_recovery_needs_and_nothing_after_release() {
    let mut arena = arena(1);
    let chunk = arena.allocate(Class::SMALLEST, &label(8192)).unwrap();
    let entry = Layout::of(arena.memory.len()).entry_position(chunk);
    assert_eq!(table::bytes_to_apply(arena.memory.load(entry)), None);
    arena.write(chunk, 0, b"batch");
    arena.publish(chunk, 5);
    assert_eq!(table::bytes_to_apply(arena.memory.load(entry)), Some(5));
    assert_eq!(ChunkLabel::decode(arena.memory.read(entry + 8, 56)), Some(label(8192)));
    arena.publish_clean(chunk, 5);
    assert_eq!(table::bytes_to_apply(arena.memory.load(entry)), None);
    arena.publish(chunk, 5);
    arena.disown(chunk);
    assert_eq!(table::bytes_to_apply(arena.memory.load(entry)), None);
}
