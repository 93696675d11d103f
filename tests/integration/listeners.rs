//! How a broker is reached: by several addresses, by as many connections as it allows, and with replies as large as it allows.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ringlog::client::{Connection, Error};
use ringlog::protocol::records::Batches;

use crate::process::{Broker, PATIENCE, Scratch, binary, cannot};
use crate::requests::{batch, fetch, metadata, produce};

const NO_SUCH_ADDRESS: &str = "this machine has no such address";

#[test]
fn each_of_two_listeners_serves_and_names_the_endpoint_that_is_advertised_for_it() {
    let scratch = Scratch::new("listeners");
    let broker = scratch.start(&[
        "listeners=PLAINTEXT://127.0.0.1:0,PLAINTEXT://[::1]:0",
        "advertised.listeners=PLAINTEXT://four.example:1904,PLAINTEXT://[2001:db8::6]:1906",
    ]);
    if broker.said().contains(NO_SUCH_ADDRESS) {
        return cannot("this machine has no ::1");
    }
    let [four, six] = &broker.addresses[..] else { panic!("{:?}", broker.addresses) };
    assert!(four.starts_with("127.0.0.1:") && six.starts_with("[::1]:"), "{four}, {six}");
    for (address, advertised) in [(four, ("four.example", 1904)), (six, ("2001:db8::6", 1906))] {
        // The topic is made by asking for it: the client would connect to what is advertised.
        let (host, port, _) = metadata(&mut broker.connect_to(address), "t");
        assert_eq!((host.as_str(), port), advertised, "by way of {address}");
    }
    exchange(&broker);
}

/// What is produced by way of one listener is fetched by way of each.
fn exchange(broker: &Broker) {
    let mut written = Vec::new();
    for (offset, address) in (0..).zip(&broker.addresses) {
        let sent = batch(7, 100 + written.len());
        assert_eq!(produce(&mut broker.connect_to(address), "t", 0, &sent), (0, offset), "to {address}");
        written.extend(sent);
    }
    for address in &broker.addresses {
        let [(error_code, bytes)] = &fetch(&mut broker.connect_to(address), "t", &[(0, 0)], 1 << 20)[..]
        else {
            panic!("one partition was asked for")
        };
        assert_eq!((*error_code, bytes.len()), (0, written.len()), "from {address}");
        assert_eq!(Batches::new(bytes).map(Result::unwrap).count(), broker.addresses.len());
    }
}

/// On the port of the defaults, which another program may have.
#[test]
fn with_no_listener_given_both_loopback_addresses_are_served() {
    let scratch = Scratch::new("default-listeners");
    let mut command = Command::new(binary());
    command.arg("serve").arg("--data").arg(&scratch.data);
    command.arg("--set").arg(format!("arena.dir={}", scratch.arena.display()));
    command.args(["--set", "memory.bytes=134217728", "--set", "admin.listener=off"]);
    let broker = match scratch.start_command(command) {
        Ok(broker) => broker,
        Err(ended) if ended.said.contains("in use") => return cannot("port 9092 is in use"),
        Err(ended) => panic!("the broker does not start: {}", ended.said),
    };
    broker.create_topic("t", 1, &[]);
    let has_six = !broker.said().contains(NO_SUCH_ADDRESS);
    if has_six {
        assert_eq!(broker.addresses, ["127.0.0.1:9092", "[::1]:9092"]);
        assert_eq!(metadata(&mut broker.connect_to("[::1]:9092"), "t").0, "::1");
    } else {
        cannot("this machine has no ::1: of the defaults, the other address is tried alone");
    }
    exchange(&broker);
}

#[test]
fn over_max_connections_the_next_one_is_closed_until_another_has_ended() {
    let scratch = Scratch::new("max-connections");
    let broker = scratch.start(&["max.connections=2"]);
    let (mut first, second) = (broker.connect(), broker.connect());
    for _ in 0..3 {
        let refused = Connection::open(&broker.address, &broker.settings()).expect_err("a third one");
        assert!(matches!(refused, Error::Closed { .. } | Error::Connection { .. }), "{refused}");
    }
    metadata(&mut first, "t");
    drop(second);
    let deadline = Instant::now() + PATIENCE;
    let mut third = loop {
        match Connection::open(&broker.address, &broker.settings()) {
            Ok(connection) => break connection,
            Err(error) => assert!(Instant::now() < deadline && error.is_connection_lost(), "{error}"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    metadata(&mut third, "t");
    metadata(&mut first, "t");
    Connection::open(&broker.address, &broker.settings()).expect_err("there are two again");
}

/// KIP-74: the first batch comes whole, or the reader would stay where it is.
#[test]
fn a_fetch_reply_is_bounded_by_fetch_max_bytes_but_for_its_first_batch() {
    const BYTES_MAX: usize = 1024;
    let scratch = Scratch::new("fetch-max-bytes");
    let broker = scratch.start(&["fetch.max.bytes=1024"]);
    broker.create_topic("small", 2, &[]);
    broker.create_topic("large", 2, &[]);
    let mut connection = broker.connect();
    for (topic, count, bytes) in [("small", 50, 200), ("large", 3, 3_000)] {
        for offset in 0..count {
            for partition in 0..2 {
                let answer = produce(&mut connection, topic, partition, &batch(7, bytes));
                assert_eq!(answer, (0, offset), "{topic}-{partition}");
            }
        }
        let whole_bytes = batch(7, bytes).len();
        let mut next = 0;
        while next < count {
            let rows = fetch(&mut connection, topic, &[(0, next), (1, next)], 50 << 20);
            let sum = rows.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
            assert!(rows.iter().all(|&(error_code, _)| error_code == 0), "{topic} from {next}");
            assert!(sum <= BYTES_MAX.max(whole_bytes), "{topic} from {next}: {sum} bytes");
            let batches: Vec<_> = Batches::new(&rows[0].1).map(Result::unwrap).collect();
            assert_eq!(batches.first().map(|batch| batch.header.base_offset.0), Some(next), "{topic}");
            next = batches.last().unwrap().header.end_offset().0;
        }
        assert_eq!(next, count);
    }
}

#[test]
fn a_thousand_requests_put_nothing_in_the_log() {
    let scratch = Scratch::new("quiet");
    let broker = scratch.start(&[]);
    broker.create_topic("t", 1, &[]);
    let mut connection = broker.connect();
    let before = broker.said();
    for offset in 0..350 {
        assert_eq!(produce(&mut connection, "t", 0, &batch(7, 100)), (0, offset));
        assert_eq!(metadata(&mut connection, "t").2, 1);
        let rows = fetch(&mut connection, "t", &[(0, offset)], 1 << 20);
        assert_eq!((rows[0].0, rows[0].1.is_empty()), (0, false), "from {offset}");
    }
    assert_eq!(broker.said(), before);
}
