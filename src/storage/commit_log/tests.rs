use super::*;

fn log(depth: usize, files: u64) -> CommitLog {
    let mut log = CommitLog::new([1; 16], 0, 1, depth);
    for number in 0..files {
        log.add_file(FileId(number), FILE_BYTES_MIN);
    }
    log
}

const fn slot_of(place: u32) -> PartitionSlot {
    PartitionSlot { place, generation: 0 }
}

fn push(log: &mut CommitLog, body: &[u8], slot: u32) {
    let header = FrameHeader { kind: frame::kind::DATA, ..FrameHeader::blank() };
    log.push(header, [body, &[]], Entry::Data { slot: slot_of(slot), end: 1 });
}

#[test]
fn a_group_is_what_gathered_while_the_depth_was_used_up() {
    let mut log = log(1, 2);
    push(&mut log, b"one", 1);
    let first = log.poll_write().unwrap();
    assert_eq!(first.position, 0);
    assert_eq!(pieces_bytes(&first.pieces), 8192);
    push(&mut log, b"two", 2);
    push(&mut log, b"three", 3);
    assert!(log.poll_write().is_none());
    assert!(log.poll_durable().is_none());
    log.handle_written(first.group, first.pieces);
    assert_eq!(log.poll_durable().unwrap(), [Entry::Data { slot: slot_of(1), end: 1 }]);
    let second = log.poll_write().unwrap();
    assert_eq!(second.position, 8192);
    assert_eq!(log.newest_entries().len(), 2);
}

#[test]
fn a_group_that_completes_before_its_predecessor_waits() {
    let mut log = log(2, 2);
    push(&mut log, b"one", 1);
    let first = log.poll_write().unwrap();
    push(&mut log, b"two", 2);
    let second = log.poll_write().unwrap();
    log.handle_written(second.group, second.pieces);
    assert!(log.poll_durable().is_none());
    log.handle_written(first.group, first.pieces);
    assert!(log.poll_durable().is_some());
    assert!(log.poll_durable().is_some());
    assert!(log.is_idle());
}

#[test]
fn a_file_is_written_again_only_when_unpinned_and_checkpointed() {
    let mut log = log(1, 2);
    let body = vec![5; 300 << 10];
    let mut uses = Vec::new();
    for slot in 0..2 {
        push(&mut log, &body, slot);
        let write = log.poll_write().unwrap();
        log.pin(write.file_sequence, slot_of(slot));
        uses.push(write.file_sequence);
        log.handle_written(write.group, write.pieces);
        log.poll_durable().unwrap();
    }
    push(&mut log, &body, 2);
    assert!(log.poll_write().is_none(), "both files are needed");
    log.recycle(u64::MAX);
    assert!(log.poll_write().is_none());
    assert_eq!(log.slots_of_oldest().collect::<Vec<_>>(), [slot_of(0)]);
    log.unpin(uses[0]);
    log.recycle(u64::MAX);
    let write = log.poll_write().unwrap();
    assert_eq!((write.file, write.position, write.file_sequence), (FileId(0), 0, 3));
}

#[test]
fn a_control_frame_holds_its_file_until_a_checkpoint_has_it() {
    let mut log = log(1, 2);
    let header = FrameHeader { kind: frame::kind::RESERVE, ..FrameHeader::blank() };
    log.push(header, [&[]; 2], Entry::Control { slot: slot_of(0), token: 9 });
    let first = log.poll_write().unwrap();
    log.handle_written(first.group, first.pieces);
    log.poll_durable().unwrap();
    push(&mut log, &vec![5; 510 << 10], 1);
    let second = log.poll_write().unwrap();
    log.handle_written(second.group, second.pieces);
    log.poll_durable().unwrap();
    assert_eq!(log.oldest_needed_file(1), 1);
    log.recycle(1);
    assert_eq!(log.free.len(), 0);
    assert_eq!(log.oldest_needed_file(2), 2);
    log.recycle(2);
    assert_eq!(log.free.len(), 1);
}

#[test]
fn after_a_failure_nothing_is_taken_or_acknowledged() {
    let mut log = log(2, 2);
    push(&mut log, b"one", 1);
    let first = log.poll_write().unwrap();
    push(&mut log, b"two", 2);
    let second = log.poll_write().unwrap();
    log.handle_written(second.group, second.pieces);
    assert_eq!(log.handle_failed().len(), 2);
    drop(first);
    assert!(log.poll_durable().is_none());
    assert!(!log.has_room(1));
}

#[test]
fn what_is_gathered_belongs_to_the_first_use_that_a_checkpoint_keeps() {
    let mut log = log(1, 1);
    push(&mut log, b"one", 1);
    let oldest = log.first_sequence_of(log.oldest_needed_file(0));
    assert_eq!(oldest, 1, "a checkpoint before the first write must not make that write's frames void");
    log.poll_write().unwrap();
    assert_eq!(log.first_sequence_of(1), 1);
}
