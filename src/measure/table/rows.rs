//! The rows themselves.

use std::time::Duration;

use super::{Bar, Figure, Idling, Row};
use crate::measure::batch::BatchShape;
use crate::measure::schedule::Pace;
use crate::measure::workload::{Kind, Workload};
use crate::model::Durability;
use crate::model::Durability::{Synced, Written};

const LARGE: BatchShape = BatchShape { record_bytes: 1024, batch_bytes_max: 128 << 10 };
const MANY: BatchShape = BatchShape { record_bytes: 100, batch_bytes_max: 128 << 10 };
const SINGLE: BatchShape = BatchShape { record_bytes: 100, batch_bytes_max: 0 };

/// Some MB/s of single records fill these several times in five seconds.
const SMALL_LOGS: &[(&str, &str)] = &[
    ("arena.bytes", "33554432"),
    ("commit.log.file.bytes", "1048576"),
    ("commit.log.bytes.max", "16777216"),
];
/// As above, at a thousand requests per second.
const TINY_LOGS: &[(&str, &str)] =
    &[("arena.bytes", "4194304"), ("commit.log.file.bytes", "1048576"), ("commit.log.bytes.max", "4194304")];

/// Filled several times by what is produced at [`TAIL_RATE`] in five seconds.
const TAIL_MEMORY: (&str, &str) = ("arena.bytes", "134217728");

/// At which batches are produced while they are fetched at the tail: what every contestant can carry.
const TAIL_RATE: u32 = 1_000;

/// Every row, in the order of the table.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = throughput();
    rows.extend(small());
    rows.extend(latencies());
    rows.extend(scattered());
    rows
}

/// The rows whose name begins with one of `wanted`; all, if none is wanted. Rows that others are held against come with
/// them.
///
/// # Errors
/// A beginning that no row has.
pub fn select(wanted: &[String]) -> Result<Vec<Row>, &str> {
    let all = rows();
    let is_wanted =
        |row: &Row| wanted.is_empty() || wanted.iter().any(|start| row.name.starts_with(start.as_str()));
    if let Some(unknown) =
        wanted.iter().find(|start| !all.iter().any(|row| row.name.starts_with(start.as_str())))
    {
        return Err(unknown);
    }
    let needed: Vec<&str> =
        all.iter().filter(|row| is_wanted(row)).filter_map(|row| Some(row.own?.0)).collect();
    Ok(all.iter().filter(|row| is_wanted(row) || needed.contains(&row.name)).cloned().collect())
}

fn throughput() -> Vec<Row> {
    let produce = |name, title, durability, shape| Row {
        name,
        title,
        workload: Workload { shape, ..Workload::new(Kind::Produce) },
        durability,
        idling: Idling::BothPark,
        figure: Figure::CpuPerGb,
        settings: Vec::new(),
        floor: None,
        kafka: None,
        own: None,
        warm_up_min: Duration::ZERO,
    };
    let fetch = |name, title, shape| Row {
        workload: Workload { shape, ..Workload::new(Kind::Fetch) },
        ..produce(name, title, Written, shape)
    };
    let at_tail = Workload {
        pace: Pace::Open { per_second: TAIL_RATE },
        shape: LARGE,
        ..Workload::new(Kind::EndToEnd)
    };
    let twice = Some(Bar::AtMost(2_000));
    let no_work_per_record = Bar::AtMost(1_100);
    vec![
        Row {
            floor: twice,
            kafka: Some(Bar::AtMost(200)),
            ..produce(
                "produce-written",
                "produce, 1 KiB records, 128 KiB batches, 16 partitions, written",
                Written,
                LARGE,
            )
        },
        Row {
            floor: twice,
            kafka: Some(Bar::AtMost(100)),
            ..produce("produce-synced", "the same, synced", Synced, LARGE)
        },
        Row {
            floor: twice,
            kafka: Some(Bar::AtMost(1_000)),
            ..fetch("fetch-recent", "fetch of data just written, 1 KiB records", LARGE)
        },
        Row {
            workload: at_tail,
            settings: vec![TAIL_MEMORY],
            figure: Figure::CpuPerGbFetched,
            floor: twice,
            kafka: Some(Bar::AtMost(1_000)),
            ..fetch("fetch-tail", "fetch at the tail, 1 KiB records", LARGE)
        },
        Row {
            own: Some(("produce-written", no_work_per_record)),
            kafka: Some(Bar::AtMost(125)),
            ..produce(
                "records-100-written",
                "produce, 100-byte records, 128 KiB batches, written",
                Written,
                MANY,
            )
        },
        Row {
            own: Some(("produce-synced", no_work_per_record)),
            kafka: Some(Bar::AtMost(125)),
            ..produce("records-100-synced", "the same, synced", Synced, MANY)
        },
        Row {
            own: Some(("fetch-recent", no_work_per_record)),
            ..fetch("records-100-fetch", "fetch of data just written, 100-byte records", MANY)
        },
    ]
}

/// Durability, the bar against the floor, and that against Apache Kafka.
type Bars = (Durability, u64, u64);

fn small() -> Vec<Row> {
    let row = |name, title, connections, in_flight, (durability, floor, kafka): Bars| Row {
        name,
        title,
        workload: Workload { shape: SINGLE, connections, in_flight, ..Workload::new(Kind::Produce) },
        durability,
        idling: Idling::BothPark,
        figure: Figure::RequestsPerCpuSecond,
        settings: SMALL_LOGS.to_vec(),
        floor: Some(Bar::AtLeast(floor)),
        kafka: Some(Bar::AtLeast(kafka)),
        own: None,
        warm_up_min: Duration::ZERO,
    };
    let title = "one 100-byte record per request, 16 connections, written";
    let pipelined = "the same, 4 connections with 20 in flight, written";
    vec![
        row("small-written", title, 16, 1, (Written, 500, 3_000)),
        row("small-synced", "the same, synced", 16, 1, (Synced, 400, 10_000)),
        row("pipelined-written", pipelined, 4, 20, (Written, 500, 8_000)),
        row("pipelined-synced", "the same, synced", 4, 20, (Synced, 400, 20_000)),
    ]
}

fn latencies() -> Vec<Row> {
    let row = |name, title, per_second: u32, durability, idling| Row {
        name,
        title,
        workload: Workload {
            shape: SINGLE,
            partitions: 1,
            connections: 1,
            in_flight: 1_000,
            pace: Pace::Open { per_second },
            ..Workload::new(Kind::Produce)
        },
        durability,
        idling,
        figure: Figure::Latency,
        settings: if per_second > 1_000 { SMALL_LOGS.to_vec() } else { TINY_LOGS.to_vec() },
        floor: Some(Bar::LatencyInMostRounds { median: 1_500, p90: 2_000 }),
        kafka: Some(match (idling, durability) {
            (Idling::BothSpin, _) => Bar::LatencyAtMost { median: 500, p90: Some(333) },
            (_, Written) => Bar::LatencyAtMost { median: 1_000, p90: None },
            (_, Synced) => Bar::LatencyAtMost { median: 333, p90: None },
        }),
        own: None,
        warm_up_min: Duration::ZERO,
    };
    use Idling::{BothPark, BothSpin, BrokerParks};
    vec![
        row(
            "latency-1k-written-spin",
            "to the acknowledgement, 1,000/s, written, all spin",
            1_000,
            Written,
            BothSpin,
        ),
        row("latency-1k-written-park", "the same, all park", 1_000, Written, BothPark),
        row(
            "latency-1k-written-mixed",
            "the same, the broker parks, the loader spins",
            1_000,
            Written,
            BrokerParks,
        ),
        row(
            "latency-1k-synced-spin",
            "to the acknowledgement, 1,000/s, synced, all spin",
            1_000,
            Synced,
            BothSpin,
        ),
        row("latency-1k-synced-park", "the same, all park", 1_000, Synced, BothPark),
        row(
            "latency-1k-synced-mixed",
            "the same, the broker parks, the loader spins",
            1_000,
            Synced,
            BrokerParks,
        ),
        row(
            "latency-10k-written-spin",
            "to the acknowledgement, 10,000/s, written, all spin",
            10_000,
            Written,
            BothSpin,
        ),
        row("latency-10k-written-park", "the same, all park", 10_000, Written, BothPark),
        row(
            "latency-10k-written-mixed",
            "the same, the broker parks, the loader spins",
            10_000,
            Written,
            BrokerParks,
        ),
        row(
            "latency-10k-synced-spin",
            "to the acknowledgement, 10,000/s, synced, all spin",
            10_000,
            Synced,
            BothSpin,
        ),
        row("latency-10k-synced-park", "the same, all park", 10_000, Synced, BothPark),
        row(
            "latency-10k-synced-mixed",
            "the same, the broker parks, the loader spins",
            10_000,
            Synced,
            BrokerParks,
        ),
    ]
}

fn scattered() -> Vec<Row> {
    let row = |name, title, partitions| Row {
        name,
        title,
        workload: Workload {
            shape: SINGLE,
            partitions,
            connections: 64,
            in_flight: 1,
            ..Workload::new(Kind::Produce)
        },
        durability: Synced,
        idling: Idling::BothPark,
        figure: Figure::RequestsPerSecond,
        settings: SMALL_LOGS.to_vec(),
        floor: None,
        kafka: None,
        own: None,
        warm_up_min: Duration::from_secs(6),
    };
    vec![
        row("partitions-1", "small synced appends, 64 connections, 1 partition", 1),
        Row {
            own: Some(("partitions-1", Bar::AtLeast(800))),
            kafka: Some(Bar::AtLeast(20_000)),
            ..row("partitions-1000", "the same, 1,000 partitions", 1_000)
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_run_has_a_name_of_its_own_and_a_bar_that_fits() {
        let all = rows();
        for row in &all {
            row.workload.check().unwrap();
            assert_eq!(all.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            if let Some((other, _)) = row.own {
                let other = all.iter().find(|candidate| candidate.name == other).unwrap();
                assert_eq!(other.figure, row.figure, "{}", row.name);
            }
            let of_latency =
                |bar: Option<Bar>| bar.is_some_and(|bar| !matches!(bar, Bar::AtMost(_) | Bar::AtLeast(_)));
            let is_latency = row.figure == Figure::Latency;
            assert_eq!(of_latency(row.floor), is_latency, "{}", row.name);
            assert_eq!(of_latency(row.kafka), is_latency, "{}", row.name);
        }
    }

    #[test]
    fn a_row_brings_those_it_is_held_against() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            select(&wanted).map(|rows| rows.iter().map(|row| row.name).collect()).map_err(str::to_owned)
        };
        assert_eq!(names(&["partitions-1000"]), Ok(vec!["partitions-1", "partitions-1000"]));
        assert_eq!(names(&["small"]), Ok(vec!["small-written", "small-synced"]));
        assert_eq!(names(&["small", "x"]), Err("x".to_owned()));
        assert_eq!(names(&[]).map(|names| names.len()), Ok(rows().len()));
    }
}
