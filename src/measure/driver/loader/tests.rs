use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::measure::batch::BatchShape;
use crate::measure::driver::floor::{self, FloorOptions};
use crate::model::Durability;

/// A floor on a thread that ends with the tests' process, as a floor ends with its own.
fn floor(durability: Durability, is_tail: bool) -> SocketAddr {
    let name = format!("ringlog-floor-test-{}-{is_tail}-{}", durability.name(), std::process::id());
    let file = std::env::temp_dir().join(name);
    let options = FloorOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        durability,
        file: file.clone(),
        file_bytes: 8 << 20,
        memory_directory: Path::new("/dev/shm").to_owned(),
        memory_bytes: 8 << 20,
        idle: Idle::Park,
        cpu: None,
        is_tail,
    };
    let (ready, address) = mpsc::channel();
    thread::spawn("floor", move || {
        let outcome = floor::serve(&options, |address| ready.send(address).unwrap());
        panic!("a floor ended: {outcome:?}");
    })
    .unwrap();
    let address = address.recv().unwrap();
    // It is open, and takes its space with it when the process ends.
    std::fs::remove_file(file).unwrap();
    address
}

fn load(address: SocketAddr, workload: &Workload) -> Run {
    let options = LoaderOptions { address, idle: Idle::Park, is_floor: true, watched: Watched::default() };
    run(workload, &Target::floor(), options).unwrap()
}

/// Ends when 64 batches or so are through, however long that takes on a machine that has other things to do.
fn short(kind: Kind, record_bytes: usize, batch_bytes_max: usize) -> Workload {
    Workload {
        shape: BatchShape { record_bytes, batch_bytes_max },
        warm_up: Duration::from_millis(20),
        measured: Duration::from_secs(60),
        bytes_max: Some(64 * record_bytes.max(batch_bytes_max) as u64),
        ..Workload::new(kind)
    }
}

#[test]
fn a_floor_acknowledges_small_and_large_requests_of_both_durabilities() {
    for durability in [Durability::Written, Durability::Synced] {
        let address = floor(durability, false);
        for (record_bytes, batch_bytes_max) in [(100, 0), (1024, 128 << 10)] {
            let found = load(address, &short(Kind::Produce, record_bytes, batch_bytes_max));
            assert!(!found.is_lost && found.outcome.unanswered == 0, "{found:?}");
            assert!(found.outcome.requests > 0 && found.outcome.bytes >= 100 * found.outcome.requests);
            assert!(found.written.iter().sum::<u64>() >= found.outcome.records, "{found:?}");
        }
        let fetched = load(address, &short(Kind::Fetch, 1024, 128 << 10)).outcome;
        assert!(fetched.requests > 0 && fetched.bytes == fetched.requests << 20, "{fetched:?}");
    }
}

#[test]
fn what_is_produced_at_a_rate_arrives_at_the_consumers_once() {
    for durability in [Durability::Written, Durability::Synced] {
        let address = floor(durability, true);
        for batch_bytes_max in [0, 64 << 10] {
            let workload = Workload {
                pace: Pace::Open { per_second: 500 },
                partitions: 5,
                consumers: 3,
                ..short(Kind::EndToEnd, 100, batch_bytes_max)
            };
            let Run { outcome, is_lost, .. } = load(address, &workload);
            assert!(!is_lost && outcome.unanswered == 0, "{outcome:?}");
            // At most what was meant to be sent in that time, and each batch once: none is lost or counted twice.
            let meant = outcome.elapsed.as_micros() / 2_000 + 1;
            assert!((1..=meant).contains(&outcome.latency.count.into()), "{outcome:?}");
            assert_eq!(outcome.latency.count, outcome.acknowledged.count, "{outcome:?}");
        }
    }
}

#[test]
fn a_broker_that_is_not_there_is_an_error_and_one_that_goes_away_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let goes_away = std::thread::spawn(move || {
        for _ in 0..4 {
            drop(listener.accept().unwrap());
        }
    });
    let workload = short(Kind::Produce, 100, 0);
    assert!(load(address, &workload).is_lost);
    goes_away.join().unwrap();
    let options = LoaderOptions { address, idle: Idle::Park, is_floor: true, watched: Watched::default() };
    let refused = run(&workload, &Target::floor(), options).unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }), "{refused}");
}
