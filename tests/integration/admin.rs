//! Health and metrics: what a shipped broker says over HTTP about what was done to it, and that no client of it harms another.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::process::{Broker, PATIENCE, Scratch};
use crate::requests::{batch, fetch, produce, produce_unanswered, stamped};

const ANY_PORT: &str = "admin.listener=http://127.0.0.1:0";

struct Reply {
    status: u16,
    head: String,
    body: String,
}

/// Where the broker says that its metrics are.
fn admin_of(broker: &Broker) -> String {
    let url = broker.line("metrics").expect("it names the page");
    url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap().to_owned()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(address: &str, method: &str, path: &str) -> Reply {
    let mut stream = connect(address);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(address: &str, path: &str) -> Reply {
    ask(address, "GET", path)
}

/// The sum of all series of this name that have all of these labels.
fn sum(page: &str, name: &str, labels: &[&str]) -> f64 {
    let found = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        (found == name && labels.iter().all(|label| rest.contains(label)))
            .then(|| value.parse::<f64>().unwrap())
    });
    found.sum()
}

/// The first page of which that is true.
fn until(admin: &str, is_there: impl Fn(&str) -> bool) -> Reply {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = get(admin, "/metrics");
        assert_eq!(reply.status, 200);
        if is_there(&reply.body) {
            return reply;
        }
        assert!(Instant::now() < deadline, "{}", reply.body);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The series of a name, if there are any.
fn has(page: &str, series: &str) -> bool {
    page.lines().any(|line| line.starts_with(series))
}

#[test]
fn what_was_done_to_a_broker_is_on_its_page() {
    let scratch = Scratch::new("metrics");
    let broker = scratch.start(&[ANY_PORT, "num.partitions=4"]);
    let admin = admin_of(&broker);
    broker.create_topic("seen", 4, &[]);
    broker.create_topic("quick", 1, &[("ringlog.durability", "written")]);
    let sent = batch(1, 300);
    let mut connection = broker.connect();
    for partition in 0..4 {
        assert_eq!(produce(&mut connection, "seen", partition, &sent).0, 0);
    }
    assert_eq!(produce(&mut connection, "quick", 0, &sent).0, 0);
    assert_eq!(produce(&mut connection, "quick", 9, &sent).0, 3);
    let read = fetch(&mut connection, "seen", &[(0, 0), (1, 0)], 1 << 20);
    assert!(read.iter().all(|(error_code, _)| *error_code == 0), "{read:?}");
    let read_bytes: usize = read.iter().map(|(_, bytes)| bytes.len()).sum();

    let reply = get(&admin, "/metrics");
    assert_eq!(reply.status, 200);
    assert!(
        reply.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        reply.head
    );
    let page = &reply.body;
    assert!(page.ends_with("# EOF\n"), "{page}");
    let close = |found: f64, expected: usize| {
        assert!((found - expected as f64).abs() < 0.5, "{found}, not {expected}\n{page}")
    };
    close(sum(page, "ringlog_shards", &[]), 2);
    close(sum(page, "ringlog_shards_silent", &[]), 0);
    close(sum(page, "ringlog_requests_total", &["api=\"Produce\""]), 6);
    close(sum(page, "ringlog_request_seconds_count", &["api=\"Produce\""]), 6);
    close(sum(page, "ringlog_request_seconds_bucket", &["api=\"Produce\"", "le=\"+Inf\""]), 6);
    close(sum(page, "ringlog_errors_total", &["api=\"Produce\"", "error=\"UNKNOWN_TOPIC_OR_PARTITION\""]), 1);
    close(sum(page, "ringlog_topic_batches_in_total", &["topic=\"seen\""]), 4);
    close(sum(page, "ringlog_topic_bytes_in_total", &["topic=\"seen\""]), 4 * sent.len());
    close(sum(page, "ringlog_topic_batches_in_total", &["topic=\"quick\""]), 1);
    close(sum(page, "ringlog_topic_bytes_out_total", &["topic=\"seen\""]), read_bytes);
    close(sum(page, "ringlog_partitions", &[]), 5);
    close(sum(page, "ringlog_partitions_failed", &[]), 0);
    assert!(sum(page, "ringlog_connections", &[&format!("listener=\"{}\"", broker.address)]) >= 1.0);
    // Each synced append is in a group, and each group is a durable write; reservations are frames too.
    assert!(sum(page, "ringlog_commit_log_frames_total", &[]) >= 4.0, "{page}");
    assert!(sum(page, "ringlog_commit_log_groups_total", &[]) >= 2.0, "{page}");
    assert!(sum(page, "ringlog_device_seconds_count", &["operation=\"durable_write\""]) >= 2.0, "{page}");
    assert!(sum(page, "ringlog_device_written_bytes_total", &[]) >= 4096.0);
    assert!(sum(page, "process_resident_memory_bytes", &[]) > 1e6);
    assert!(!page.contains("ringlog_partition_bytes{"), "partitions are not asked for\n{page}");
}

#[test]
fn with_metrics_per_partition_each_has_its_offsets() {
    let scratch = Scratch::new("metrics-partitions");
    let broker = scratch.start(&[ANY_PORT, "metrics.per.partition=true"]);
    let admin = admin_of(&broker);
    broker.create_topic("seen", 3, &[]);
    let sent = batch(1, 300);
    assert_eq!(produce(&mut broker.connect(), "seen", 2, &sent).0, 0);
    let page =
        until(&admin, |page| has(page, "ringlog_partition_flushed_offset{topic=\"seen\",partition=\"2\"} 1"))
            .body;
    for (partition, end) in [(0, 0.0), (1, 0.0), (2, 1.0)] {
        let labels = ["topic=\"seen\"", &format!("partition=\"{partition}\"")];
        for name in ["high_watermark", "log_end_offset", "flushed_offset"] {
            let name = format!("ringlog_partition_{name}");
            assert!(has(&page, &format!("{name}{{topic=\"seen\",partition=\"{partition}\"}} ")), "{page}");
            assert!((sum(&page, &name, &labels) - end).abs() < 0.5, "{name} of {partition}\n{page}");
        }
    }
}

#[test]
fn health_and_readiness_are_told_and_what_is_not_there_is_refused() {
    let scratch = Scratch::new("health");
    let broker = scratch.start(&[ANY_PORT]);
    let admin = admin_of(&broker);
    for (method, path, status, body) in [
        ("GET", "/healthz", 200, "ok\n"),
        ("HEAD", "/healthz", 200, ""),
        ("GET", "/readyz", 200, "ready\n"),
        ("GET", "/nothing", 404, "not found\n"),
        ("POST", "/metrics", 405, "only GET\n"),
        ("DELETE", "/healthz", 405, "only GET\n"),
    ] {
        let reply = ask(&admin, method, path);
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
    }
    let version = get(&admin, "/version");
    assert!(version.head.contains("content-type: application/json"), "{}", version.head);
    assert!(
        version.body.contains(&format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"))),
        "{}",
        version.body
    );
}

/// What is done again is not done twice, and an error without an answer is one.
#[test]
fn duplicates_are_not_counted_and_errors_without_an_answer_are() {
    let scratch = Scratch::new("metrics-errors");
    let broker = scratch.start(&[ANY_PORT]);
    let admin = admin_of(&broker);
    broker.create_topic("seen", 1, &[]);
    let mut connection = broker.connect();
    let sent = stamped(7, 100);
    for _ in 0..3 {
        assert_eq!(produce(&mut connection, "seen", 0, &sent), (0, 0));
    }
    produce_unanswered(&mut broker.connect(), "nowhere", 0, &batch(1, 10));
    let labels = ["api=\"Produce\"", "error=\"UNKNOWN_TOPIC_OR_PARTITION\""];
    let page = until(&admin, |page| sum(page, "ringlog_errors_total", &labels) > 0.5).body;
    assert!((sum(&page, "ringlog_topic_batches_in_total", &["topic=\"seen\""]) - 1.0).abs() < 0.5, "{page}");
    assert!(sum(&page, "ringlog_connections_broken_total", &[]) > 0.5, "{page}");
}

/// More of them than are served at a time, and a head that never ends.
#[test]
fn clients_that_say_nothing_or_too_much_keep_nobody_from_health() {
    let scratch = Scratch::new("admin-hostile");
    let broker = scratch.start(&[ANY_PORT]);
    let admin = admin_of(&broker);
    let silent: Vec<TcpStream> = (0..40).map(|_| connect(&admin)).collect();
    let mut endless = connect(&admin);
    let line = format!("X-Long: {}\r\n", "x".repeat(1_000));
    let _ = endless.write_all(b"GET /healthz HTTP/1.1\r\n");
    let refused = (0..10_000).any(|_| endless.write_all(line.as_bytes()).is_err());
    assert!(refused, "ten megabytes of head were taken");
    // Those before it are given up in time.
    assert_eq!(get(&admin, "/healthz").status, 200);
    drop(silent);
    assert_eq!(produce(&mut broker.connect(), "t", 0, &batch(1, 10)).0, 3, "the broker serves");
}

#[test]
fn a_port_that_is_taken_is_an_error_only_where_it_was_asked_for() {
    let scratch = Scratch::new("admin-port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let setting = format!("admin.listener=http://{}", taken.local_addr().unwrap());
    let Err(ended) = scratch.start_command(scratch.command(&[&setting])) else { panic!("it serves") };
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.said.contains("admin.listener: cannot listen on 127.0.0.1"), "{}", ended.said);
    // Whoever has the port of the default, now somebody has.
    let _default = TcpListener::bind("127.0.0.1:9644");
    let mut command = std::process::Command::new(crate::process::binary());
    command.arg("serve").arg("--data").arg(&scratch.data);
    command.arg("--set").arg(format!("arena.dir={}", scratch.arena.display()));
    command.args(["--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "memory.bytes=134217728"]);
    let Ok(broker) = scratch.start_command(command) else { panic!("it does not start") };
    assert_eq!(broker.line("metrics"), None);
    assert!(broker.said().contains("no health and metrics"), "{}", broker.said());
}

#[test]
fn a_stop_ends_health_too() {
    let scratch = Scratch::new("admin-stop");
    let broker = scratch.start(&[ANY_PORT]);
    let admin = admin_of(&broker);
    let _idle = connect(&admin);
    broker.signal("TERM");
    let ended = broker.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.said);
    assert!(TcpStream::connect_timeout(&admin.parse().unwrap(), Duration::from_secs(1)).is_err());
}
