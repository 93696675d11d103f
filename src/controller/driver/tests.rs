//! Claims of the controller on its disk: what was answered is there again, whatever ends or fails, and when.

use super::*;
use crate::controller::fixtures::{self, random_from};
use crate::controller::state::{CreateMode, NewTopic, TopicSelector};
use crate::model::{BrokerId, ErrorCode, StartCount, TopicId};

mod damage;
mod disk;
mod random;
mod simulated;

use self::disk::{DiskFake, Kept, Plan};

fn try_open(disk: &DiskFake) -> Result<Controller<DiskFake>, Error> {
    let seed = disk.operation_count() + 1;
    Controller::open(disk.clone(), Arc::new(fixtures::config(7)), Box::new(random_from(seed)))
}

fn open(disk: &DiskFake) -> Controller<DiskFake> {
    try_open(disk).unwrap()
}

fn create(names: &[&str]) -> Command {
    let topics: Vec<NewTopic> = names.iter().map(|name| fixtures::topic(name)).collect();
    Command::CreateTopics { topics, mode: CreateMode::Create }
}

fn delete(name: &str) -> Command {
    Command::DeleteTopics { topics: vec![TopicSelector { name: Some(name.to_owned()), id: TopicId::ZERO }] }
}

/// The topics, the next producer id and the number of starts.
fn summary(image: &Image) -> (Vec<String>, i64, u64) {
    let names = image.topics().map(|topic| topic.name.to_string()).collect();
    (names, image.next_producer_id().0, image.start_count().0)
}

/// What is on disk, without starting on it.
fn stored(disk: &DiskFake) -> State {
    let identity = read_identity(disk).unwrap().unwrap();
    let broker = BrokerImage { id: BrokerId(7), endpoints: Vec::new() };
    store::load(disk.clone(), identity.cluster_id, &broker).unwrap().state
}

/// Whatever the machine keeps of what was not flushed, the state is there.
fn assert_all_stored(disk: &DiskFake, controller: &Controller<DiskFake>) {
    let some = (0..5).map(|seed| Kept::Some { seed });
    for kept in [Kept::All, Kept::Nothing].into_iter().chain(some) {
        assert_eq!(stored(&disk.after_the_end(kept)), controller.state, "{kept:?}");
    }
}

#[test]
fn a_new_directory_gets_an_identity_and_every_start_raises_the_leader_epochs() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let identity = *controller.identity();
    assert_eq!(controller.image().start_count(), StartCount(1));
    assert_eq!(controller.image().cluster_id(), identity.cluster_id);
    assert_ne!(identity.cluster_id.0, identity.directory_id.0);
    controller.handle(&[create(&["a"])]);
    let image = controller.image();
    assert_eq!(image.leader_epoch(image.topic("a").unwrap()).0, 0);
    drop(controller);

    let mut controller = open(&disk);
    assert_eq!(*controller.identity(), identity);
    controller.handle(&[create(&["b"])]);
    let image = controller.image();
    let leader_epoch = |name: &str| image.leader_epoch(image.topic(name).unwrap()).0;
    assert_eq!((leader_epoch("a"), leader_epoch("b")), (1, 0));
    let names = ["00000000000000000000.log", "00000000000000000001.snapshot", "00000000000000000002.log"];
    let names = names.map(|name| format!("metadata/{name}"));
    assert_eq!(disk.names(), [&["meta.properties".to_owned()], names.as_slice()].concat());
}

#[test]
fn commands_of_a_batch_see_each_other_and_share_one_flush() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let old = controller.image();
    let before = disk.operation_count();
    let replies = controller.handle(&[create(&["a"]), create(&["a", "b"]), Command::AllocateProducerIds]);
    assert_eq!(disk.operation_count(), before + 2, "one write and one flush");
    let Ok(Reply::CreateTopics(rows)) = &replies[1] else { panic!("another reply") };
    let codes: Vec<_> =
        rows.iter().map(|row| row.result.as_ref().map_err(Refusal::error_code).err()).collect();
    assert_eq!(codes, [Some(ErrorCode::TopicAlreadyExists), None]);
    assert_eq!(old.topic_count(), 0, "an image that was published does not change");
    assert_eq!(summary(&controller.image()).0, ["a", "b"]);
    assert_eq!(stored(&disk.after_the_end(Kept::Nothing)), controller.state);
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let before = (disk.operation_count(), controller.image());
    let Command::CreateTopics { topics, .. } = create(&["a"]) else { unreachable!() };
    controller.handle(&[Command::CreateTopics { topics, mode: CreateMode::ValidateOnly }, delete("x")]);
    assert_eq!(disk.operation_count(), before.0);
    assert!(Arc::ptr_eq(&before.1, &controller.image()));
}

#[test]
fn endpoints_are_the_processs_own_and_not_recorded() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let endpoint = Endpoint { listener: "PLAINTEXT".to_owned(), host: "h".to_owned(), port: 9092 };
    controller.set_endpoints(vec![endpoint.clone()]);
    controller.handle(&[create(&["a"])]);
    assert_eq!(controller.image().broker().endpoints, [endpoint]);
    assert_eq!(open(&disk).image().broker().endpoints, []);
}

/// A life with every kind of step, compaction included. Stops where the disk does.
fn live(disk: &DiskFake) -> Vec<(Vec<String>, i64, u64)> {
    let mut answered = Vec::new();
    for start in 0..2 {
        let Ok(mut controller) = try_open(disk) else { return answered };
        answered.push(summary(&controller.image()));
        let names = [format!("a{start}"), format!("b{start}")];
        let names = [names[0].as_str(), names[1].as_str()];
        for commands in [vec![create(&names)], vec![Command::AllocateProducerIds, delete(names[0])]] {
            if controller.handle(&commands).iter().all(Result::is_ok) {
                answered.push(summary(&controller.image()));
            }
            // Does not fail the life: the log goes on.
            let _ = controller.store.compact(&controller.state);
        }
    }
    answered
}

/// The end at every operation, and everything that a machine may keep of what was not flushed.
#[test]
fn whatever_was_answered_before_the_end_is_there_after_it() {
    let whole = DiskFake::default();
    let full = live(&whole);
    assert_eq!(full.len(), 6);
    let mut ended_within = std::collections::BTreeSet::new();
    for at in 0..whole.operation_count() {
        let disk = DiskFake::default();
        disk.set_plan(Some(Plan::End { at }));
        let answered = live(&disk);
        assert_eq!(answered, full[..answered.len()], "at {at}");
        ended_within.insert(answered.len());
        let some = (0..20).map(|seed| Kept::Some { seed: at * 1_000 + seed });
        for kept in [Kept::All, Kept::Nothing].into_iter().chain(some) {
            let after = disk.after_the_end(kept);
            let controller = try_open(&after).unwrap_or_else(|error| panic!("at {at}, {kept:?}: {error}"));
            let (names, producer_id, starts) = summary(&controller.image());
            // This start is counted too.
            let found = (names, producer_id, starts - 1);
            let nothing = (Vec::new(), 0, 0);
            let before = answered.last().unwrap_or(&nothing);
            let next = full.get(answered.len()).unwrap_or(before);
            assert!(found == *before || found == *next, "at {at}, {kept:?}: {found:?}");
        }
    }
    assert_eq!(ended_within.len(), 7, "the ends are spread over the whole life");
}

/// An operation that fails, at every place, and a life that goes on after it.
#[test]
fn after_a_failed_write_the_state_is_as_before_and_the_next_command_succeeds() {
    let whole = DiskFake::default();
    drop(open(&whole));
    let opened_at = whole.operation_count();
    let mut controller = open(&whole);
    let started_at = whole.operation_count();
    controller.handle(&[create(&["a"])]);
    controller.store.compact(&controller.state).unwrap();
    controller.handle(&[create(&["b"])]);
    assert!(started_at > opened_at);
    for at in started_at..whole.operation_count() {
        let disk = DiskFake::default();
        drop(open(&disk));
        let mut controller = open(&disk);
        disk.set_plan(Some(Plan::Fail { at }));
        let mut expected = Vec::new();
        let mut refused = Vec::new();
        for name in ["a", "b", "c"] {
            match &controller.handle(&[create(&[name])])[0] {
                Ok(_) => expected.push(name),
                Err(refusal) => {
                    assert_eq!(refusal.error_code(), ErrorCode::KafkaStorageError);
                    refused.push(name);
                }
            }
            assert_eq!(summary(&controller.image()).0, expected, "at {at}");
            if refused.last() != Some(&name) {
                assert_all_stored(&disk, &controller);
            }
            let compacted = controller.store.compact(&controller.state);
            let failed = u64::from(compacted.is_err()) + refused.len() as u64;
            assert!(failed <= 1, "at {at}: only one operation fails");
        }
        assert!(expected.contains(&"c"), "at {at}: what failed long ago is over");
        assert_all_stored(&disk, &controller);
    }
}

#[test]
fn a_refused_command_may_have_happened_only_if_the_process_ends_at_once() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    // The flush fails, but the bytes were written.
    disk.set_plan(Some(Plan::Fail { at: disk.operation_count() + 1 }));
    assert_eq!(controller.handle(&[create(&["a"])]), [Err(Refusal::Storage)]);
    assert_eq!(controller.image().topic_count(), 0);
    assert_eq!(stored(&disk.after_the_end(Kept::All)).image().topic_count(), 1);
    controller.handle(&[Command::AllocateProducerIds]);
    let after = stored(&disk.after_the_end(Kept::All));
    assert_eq!(after, controller.state, "the record that failed is not read any more");
    assert_eq!(after.image().topic_count(), 0);
    let without_snapshot = disk.after_the_end(Kept::All);
    without_snapshot.edit("metadata/00000000000000000001.snapshot", |bytes| bytes.clear());
    assert_eq!(stored(&without_snapshot), controller.state, "not even where the old log is read again");
}

#[test]
fn a_full_disk_refuses_commands_until_there_is_room_again() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    controller.handle(&[create(&["a"])]);
    disk.set_plan(Some(Plan::Full { from: 0 }));
    for _ in 0..3 {
        assert_eq!(
            controller.handle(&[create(&["b"]), create(&["a"])]),
            [Err(Refusal::Storage), Err(Refusal::Storage)]
        );
        assert_eq!(summary(&controller.image()).0, ["a"]);
        // What needs no disk is answered.
        assert!(controller.handle(&[delete("nope")])[0].is_ok());
    }
    disk.set_plan(None);
    assert!(controller.handle(&[create(&["b"])])[0].is_ok());
    assert_eq!(stored(&disk.after_the_end(Kept::Nothing)), controller.state);
    assert!(disk.names().iter().all(|name| !name.ends_with(".new")), "{:?}", disk.names());
}

#[test]
fn a_disk_that_keeps_failing_is_not_filled_with_tries() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    disk.set_plan(Some(Plan::Full { from: 0 }));
    assert_eq!(controller.handle(&[create(&["a"])]), [Err(Refusal::Storage)]);
    for round in 0..50 {
        // In the first round there is room for the snapshot: made, cut, written, flushed, renamed, its name flushed.
        let from = disk.operation_count() + if round == 0 { 6 } else { 0 };
        disk.set_plan(Some(Plan::Full { from }));
        assert_eq!(controller.handle(&[create(&["a"])]), [Err(Refusal::Storage)], "round {round}");
        assert_eq!(disk.names().iter().filter(|name| name.ends_with("snapshot")).count(), 1);
        assert_eq!(disk.names().len(), 3, "{:?}", disk.names());
    }
    disk.set_plan(None);
    controller.handle(&[create(&["a"])]);
    assert_all_stored(&disk, &controller);
}

#[test]
fn a_long_log_becomes_a_snapshot_and_old_files_go() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let mut logs_seen = std::collections::BTreeSet::new();
    for round in 0..160 {
        let names: Vec<String> =
            (0..200).map(|number| format!("{round}-{number}-{}", "x".repeat(100))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(controller.handle(&[create(&names)])[0].is_ok());
        let deletes: Vec<Command> = names.iter().skip(5).map(|name| delete(name)).collect();
        controller.handle(&deletes);
        assert!(disk.names().len() <= 6, "{:?}", disk.names());
        logs_seen.extend(disk.names());
    }
    assert!(logs_seen.len() > 8, "{logs_seen:?}");
    assert_eq!(controller.image().topic_count(), 800);
    assert_eq!(stored(&disk), controller.state);
}

#[test]
fn many_large_commands_are_cut_into_batches_and_a_huge_one_is_refused() {
    let disk = DiskFake::default();
    let mut controller = open(&disk);
    let value = " ".repeat(32_000) + "1";
    let topic = |name: String| {
        let configs = vec![("retention.ms".to_owned(), Some(value.clone()))];
        NewTopic { partition_count: 1, configs, ..fixtures::topic(&name) }
    };
    let command = |first: usize, count: usize| Command::CreateTopics {
        topics: (first..first + count).map(|number| topic(format!("t{number}"))).collect(),
        mode: CreateMode::Create,
    };
    let before = disk.operation_count();
    let replies =
        controller.handle(&[command(0, 100), command(100, 100), command(200, 1), command(300, 1100)]);
    assert!(replies[..3].iter().all(Result::is_ok));
    assert_eq!(replies[3].as_ref().unwrap_err().error_code(), ErrorCode::PolicyViolation);
    assert!(disk.operation_count() > before + 2, "more than one batch");
    assert_eq!(controller.image().topic_count(), 201);
    assert_eq!(stored(&disk.after_the_end(Kept::Nothing)), controller.state);
}
