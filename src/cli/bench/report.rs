//! One run of the loader, for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::json::Json;
use crate::measure::cpu::CpuTime;
use crate::measure::figures::Outcome;
use crate::measure::latency::Percentiles;
use crate::measure::schedule::Pace;
use crate::measure::workload::{Kind, Workload};

/// Lines for people.
pub(super) fn text(workload: &Workload, outcome: &Outcome) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, text: String| {
        let _infallible = writeln!(lines, "{label:<13} {text}");
    };
    line("load", describe(workload));
    line(
        "passed",
        format!(
            "{} requests, {} records, {} MB in {} ms",
            outcome.requests,
            outcome.records,
            outcome.bytes / 1_000_000,
            outcome.elapsed.as_millis()
        ),
    );
    line(
        "rate",
        format!(
            "{} requests/s, {} MB/s",
            outcome.requests_per_second(),
            outcome.bytes_per_second() / 1_000_000
        ),
    );
    line("latency", percentiles(&outcome.latency));
    if workload.kind == Kind::EndToEnd {
        line("acknowledged", percentiles(&outcome.acknowledged));
    }
    if let (Some(busy), Some(request)) = (outcome.broker_busy(), outcome.broker_ns_per_request()) {
        let per_gb = outcome.broker_us_per_gb().unwrap_or(0);
        line(
            "broker CPU",
            format!("{} ms not idle: {} per request, {} ms/GB", busy.as_millis(), us(request), per_gb / 1000),
        );
    }
    if let Some(process) = outcome.process_cpu {
        line("its process", format!("{} ms", process.as_millis()));
    }
    if let Some(loader) = outcome.loader_cpu {
        line(
            "loader CPU",
            format!("{} ms busy, {} ms idle", loader.busy.as_millis(), loader.idle.as_millis()),
        );
    }
    if outcome.unanswered > 0 {
        line("unanswered", format!("{} requests", outcome.unanswered));
    }
    if outcome.is_void() {
        line(
            "VOID",
            format!("{}/1000 of a processor was stolen by the hypervisor", outcome.steal_permille()),
        );
    }
    lines
}

/// One JSON object, on a line. Times are in nanoseconds unless their name says otherwise.
pub(super) fn json(workload: &Workload, outcome: &Outcome) -> String {
    format!("{}\n", object(workload, outcome))
}

pub(super) fn object(workload: &Workload, outcome: &Outcome) -> Json {
    let rate = match workload.pace {
        Pace::Closed => Json::Null,
        Pace::Open { per_second } => number(per_second.into()),
    };
    Json::Object(vec![
        ("kind", Json::from(kind(workload.kind))),
        ("record_bytes", number(workload.shape.record_bytes as u64)),
        ("batch_bytes_max", number(workload.shape.batch_bytes_max as u64)),
        ("partitions", number(workload.partitions.into())),
        ("connections", number(workload.connections.into())),
        ("consumers", number(workload.consumers.into())),
        ("in_flight", number(workload.in_flight.into())),
        ("rate", rate),
        ("elapsed", duration(outcome.elapsed)),
        ("requests", number(outcome.requests)),
        ("records", number(outcome.records)),
        ("bytes", number(outcome.bytes)),
        ("requests_per_second", number(outcome.requests_per_second())),
        ("bytes_per_second", number(outcome.bytes_per_second())),
        ("unanswered", number(outcome.unanswered)),
        ("latency", latency(&outcome.latency)),
        ("acknowledged", latency(&outcome.acknowledged)),
        ("broker_not_idle", outcome.broker_busy().map_or(Json::Null, duration)),
        ("broker_cpu", outcome.broker_cpu.map_or(Json::Null, cpu)),
        ("loader_cpu", outcome.loader_cpu.map_or(Json::Null, cpu)),
        ("process_cpu", outcome.process_cpu.map_or(Json::Null, duration)),
        ("disk_bytes", optional(outcome.disk_bytes)),
        ("broker_ns_per_request", optional(outcome.broker_ns_per_request())),
        ("broker_us_per_gb", optional(outcome.broker_us_per_gb())),
        ("requests_per_broker_second", optional(outcome.requests_per_broker_second())),
        ("steal_permille", number(outcome.steal_permille())),
        ("void", Json::Boolean(outcome.is_void())),
    ])
}

/// In one line.
fn describe(workload: &Workload) -> String {
    let pace = match workload.pace {
        Pace::Closed => format!("{} in flight each", workload.in_flight),
        Pace::Open { per_second } => format!("{per_second} requests/s"),
    };
    format!(
        "{}: records of {} bytes in batches up to {}, {} partitions, {} connections, {pace}",
        kind(workload.kind),
        workload.shape.record_bytes,
        workload.shape.batch_bytes_max,
        workload.partitions,
        workload.connections,
    )
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Produce => "produce",
        Kind::Fetch => "fetch",
        Kind::EndToEnd => "end-to-end",
    }
}

fn percentiles(found: &Percentiles) -> String {
    format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {}, p99.99 {}, max {}",
        us(found.p50),
        us(found.p90),
        us(found.p99),
        us(found.p99_9),
        us(found.p99_99),
        us(found.max)
    )
}

/// Nanoseconds as microseconds with a digit behind the point.
fn us(nanoseconds: u64) -> String {
    format!("{}.{} µs", nanoseconds / 1_000, nanoseconds % 1_000 / 100)
}

fn latency(found: &Percentiles) -> Json {
    Json::Object(vec![
        ("count", number(found.count)),
        ("min", number(found.min)),
        ("p50", number(found.p50)),
        ("p90", number(found.p90)),
        ("p99", number(found.p99)),
        ("p99_9", number(found.p99_9)),
        ("p99_99", number(found.p99_99)),
        ("max", number(found.max)),
    ])
}

fn cpu(time: CpuTime) -> Json {
    Json::Object(vec![
        ("busy", duration(time.busy)),
        ("idle", duration(time.idle)),
        ("steal", duration(time.steal)),
    ])
}

fn duration(duration: Duration) -> Json {
    number(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

pub(super) fn optional(value: Option<u64>) -> Json {
    value.map_or(Json::Null, number)
}

pub(super) fn number(value: u64) -> Json {
    Json::Number(i64::try_from(value).unwrap_or(i64::MAX))
}
