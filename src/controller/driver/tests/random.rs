//! Random lives: after each step, what a replay of the disk makes is what is alive.

use super::*;
use crate::controller::state::{ConfigChange, ConfigOperation, TopicConfigChanges};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Handle(Vec<Command>),
    Compact,
    Restart,
    /// The machine ends, keeping some of what was not flushed.
    End {
        seed: u64,
    },
    /// One of the next operations fails.
    Fail {
        after: u64,
    },
}

fn name() -> impl Strategy<Value = String> {
    // Few, so that they meet; some collide, some are not legal.
    prop::sample::select(vec!["a", "b", "c", "x.y", "x_y", "x.z", "bad/name", ""]).prop_map(str::to_owned)
}

fn new_topic() -> impl Strategy<Value = NewTopic> {
    (name(), -1_i32..4, -1_i16..2, prop::option::of(0_u32..1000)).prop_map(
        |(name, partition_count, replication_factor, retention)| {
            let retention = retention.map(|value| ("retention.ms".to_owned(), Some(value.to_string())));
            let configs = retention.into_iter().collect();
            NewTopic { name, partition_count, replication_factor, configs, ..NewTopic::default() }
        },
    )
}

fn change() -> impl Strategy<Value = ConfigChange> {
    let operation =
        prop::sample::select(vec![ConfigOperation::Set, ConfigOperation::Delete, ConfigOperation::Append]);
    let key = prop::sample::select(vec!["retention.ms", "segment.ms", "cleanup.policy", "nope"]);
    (key, operation, 0_u32..1000).prop_map(|(key, operation, value)| ConfigChange {
        key: key.to_owned(),
        operation,
        value: Some(value.to_string()),
    })
}

fn command() -> impl Strategy<Value = Command> {
    let mode = prop::sample::select(vec![CreateMode::Create, CreateMode::ValidateOnly, CreateMode::IfAbsent]);
    let altered = (name(), prop::collection::vec(change(), 0..3))
        .prop_map(|(name, changes)| TopicConfigChanges { name, changes });
    prop_oneof![
        4 => (prop::collection::vec(new_topic(), 0..4), mode)
            .prop_map(|(topics, mode)| Command::CreateTopics { topics, mode }),
        2 => prop::collection::vec(name(), 0..3).prop_map(|names| Command::DeleteTopics {
            topics: names.into_iter().map(|name| TopicSelector { name: Some(name), id: TopicId::ZERO }).collect(),
        }),
        2 => (prop::collection::vec(altered, 0..3), any::<bool>())
            .prop_map(|(topics, validate_only)| Command::AlterTopicConfigs { topics, validate_only }),
        1 => Just(Command::AllocateProducerIds),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(command(), 0..4).prop_map(Step::Handle),
        1 => Just(Step::Compact),
        1 => Just(Step::Restart),
        1 => any::<u64>().prop_map(|seed| Step::End { seed }),
        1 => (0_u64..8).prop_map(|after| Step::Fail { after }),
    ]
}

/// Of two lives, the one with fewer starts.
fn without_starts(image: &Image) -> (Vec<Arc<crate::model::image::TopicImage>>, i64) {
    (image.topics().cloned().collect(), image.next_producer_id().0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_of_snapshot_and_log_makes_the_state_that_is_alive(steps in prop::collection::vec(step(), 1..40)) {
        let mut disk = DiskFake::default();
        let mut controller = open(&disk);
        for (number, step) in steps.into_iter().enumerate() {
            let mut storage_failed = false;
            match step {
                Step::Handle(commands) => {
                    let before = controller.state.clone();
                    let replies = controller.handle(&commands);
                    prop_assert_eq!(replies.len(), commands.len());
                    storage_failed = replies.contains(&Err(Refusal::Storage));
                    prop_assert!(!storage_failed || controller.state == before);
                }
                Step::Compact => {
                    // May meet a planned failure, which must do no harm.
                    let _ = controller.store.compact(&controller.state);
                }
                Step::Restart | Step::End { .. } => {
                    let kept = if let Step::End { seed } = step { Kept::Some { seed } } else { Kept::All };
                    let before = without_starts(&controller.image());
                    disk = disk.after_the_end(kept);
                    controller = open(&disk);
                    prop_assert_eq!(without_starts(&controller.image()), before, "step {}", number);
                }
                Step::Fail { after } => disk.set_plan(Some(Plan::Fail { at: disk.operation_count() + after })),
            }
            let image = controller.image();
            prop_assert_eq!(&*image, controller.state.image());
            if !storage_failed {
                assert_all_stored(&disk, &controller);
            } else {
                // Until a new log begins, a refused batch may be on disk: begin it.
                disk.set_plan(None);
                prop_assert!(controller.handle(&[Command::AllocateProducerIds])[0].is_ok());
            }
        }
    }
}
