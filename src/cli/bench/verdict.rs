//! The table with its verdicts, for people and for programs.

use std::fmt::Write as _;

use super::report;
use crate::cli::json::Json;
use crate::measure::table::{
    Bar, Comparison, Contestant, Figure, Figures, Judged, ROUNDS_MIN, Rival, Row, Trial,
};

/// Rows, names and bars.
pub(super) fn list(rows: &[Row]) -> String {
    let mut lines = String::new();
    for row in rows {
        let _infallible = writeln!(lines, "{:<26} {}", row.name, row.title);
        let bars = [
            row.floor.map(|bar| format!("floor {}", describe_bar(bar))),
            row.kafka.map(|bar| format!("kafka {}", describe_bar(bar))),
            row.own.map(|(name, bar)| format!("{name} {}", describe_bar(bar))),
        ];
        let bars: Vec<String> = bars.into_iter().flatten().collect();
        let _infallible = writeln!(lines, "{:<26}   {}", "", bars.join("; "));
    }
    lines
}

/// A run that has ended, in a line.
pub(super) fn trial(rows: &[Row], trial: &Trial) -> String {
    let Some((_, outcome)) = trial.runs.last() else { return String::new() };
    let figure = rows.iter().find(|row| row.name == trial.row).map(|row| row.figure);
    let mut line = format!("{:<26} {} {:<8} ", trial.row, trial.round, trial.who.name());
    let _infallible = match figure {
        Some(Figure::Latency) => write!(
            line,
            "p50 {} p90 {} p99 {} p99.9 {}",
            us(outcome.latency.p50),
            us(outcome.latency.p90),
            us(outcome.latency.p99),
            us(outcome.latency.p99_9)
        ),
        _ => write!(
            line,
            "{} requests/s, {} MB/s, {} per request, {} ms/GB",
            outcome.requests_per_second(),
            outcome.bytes_per_second() / 1_000_000,
            us(outcome.broker_ns_per_request().unwrap_or(0)),
            outcome.broker_us_per_gb().unwrap_or(0) / 1_000
        ),
    };
    if let Some(process) = outcome.process_cpu {
        let not_idle = outcome.broker_busy().unwrap_or_default().as_millis();
        let _infallible = write!(line, " (CPU {not_idle} ms, process {} ms)", process.as_millis());
    }
    if let Some(cycles) = trial.cycles {
        let _infallible = write!(line, " {}.{} cycles", cycles / 10, cycles % 10);
    }
    if outcome.unanswered > 0 {
        let _infallible = write!(line, " {} UNANSWERED", outcome.unanswered);
    }
    if trial.is_void() {
        line.push_str(" VOID: steal");
    }
    line.push('\n');
    line
}

/// The verdicts.
pub(super) fn table(judged: &[Judged], trials: &[Trial]) -> String {
    let mut lines = String::from("\n");
    let mut missed = 0;
    let mut reached = 0;
    let mut short = 0;
    for row in judged {
        let ours = row.ours.map_or("no valid run".to_owned(), |ours| describe(row.figure, ours));
        let _infallible = writeln!(lines, "{:<26} {}\n{:<26}   ours {ours}", row.name, row.title, "");
        for comparison in &row.comparisons {
            let (word, count) = match (row.is_short() || comparison.is_thin, comparison.is_reached) {
                (true, _) => ("VOID", &mut short),
                (false, true) => ("pass", &mut reached),
                (false, false) => ("MISS", &mut missed),
            };
            *count += 1;
            let _infallible =
                writeln!(lines, "{:<26}   {word} {}", "", describe_comparison(row.figure, comparison));
        }
        if row.figure == Figure::Latency {
            lines += &high_percentiles(row.name, trials);
        }
        if row.comparisons.iter().any(|comparison| comparison.is_thin) {
            let _infallible =
                writeln!(lines, "{:<26}   VOID with fewer than {ROUNDS_MIN} runs that count", "");
        }
        if row.void_count > 0 {
            let _infallible = writeln!(lines, "{:<26}   {} runs void by steal", "", row.void_count);
        }
        let _infallible = writeln!(lines, "{:<26}   {}", "", describe_cycles(row));
    }
    let _infallible = writeln!(lines, "\n{reached} bars reached, {missed} missed, {short} not judged");
    lines
}

/// How often memory or commit log went round, and what that says.
fn describe_cycles(row: &Judged) -> String {
    let tenths = |cycles: u64| format!("{}.{}", cycles / 10, cycles % 10);
    let found = row.cycles.map_or("none".to_owned(), tenths);
    match row.cycles_min {
        None => "no cycles of memory or commit log are asked for: nothing here waits for them".to_owned(),
        Some(least) if row.is_short() => {
            format!("{found} cycles of memory or commit log, and {} are needed: run longer", tenths(least))
        }
        Some(_) => format!("{found} cycles of memory or commit log"),
    }
}

/// Above p99 nothing is judged; ours and the floor's beside each other, the median of the rounds.
fn high_percentiles(name: &str, trials: &[Trial]) -> String {
    let mut lines = String::new();
    for who in [Contestant::Ringlog, Contestant::Floor, Contestant::Kafka] {
        let middle = |of: fn(&crate::measure::latency::Percentiles) -> u64| {
            let runs = trials.iter().filter(|trial| trial.row == name && trial.who == who);
            let mut values: Vec<u64> = runs
                .filter_map(|trial| trial.runs.first())
                .map(|(_, outcome)| of(&outcome.latency))
                .collect();
            values.sort_unstable();
            values.get(values.len().saturating_sub(1) / 2).copied()
        };
        if let (Some(p99), Some(p99_9), Some(p99_99)) =
            (middle(|found| found.p99), middle(|found| found.p99_9), middle(|found| found.p99_99))
        {
            let _infallible = writeln!(
                lines,
                "{:<26}   {} p99 {}, p99.9 {}, p99.99 {}",
                "",
                who.name(),
                us(p99),
                us(p99_9),
                us(p99_99)
            );
        }
    }
    lines
}

/// Everything: verdicts, and each run as `ringlog bench produce --json` gives it.
pub(super) fn json(judged: &[Judged], trials: &[Trial]) -> Json {
    let verdicts = judged.iter().map(verdict).collect();
    let runs = trials.iter().map(|trial| {
        let runs = trial.runs.iter().map(|(workload, outcome)| report::object(workload, outcome)).collect();
        Json::Object(vec![
            ("row", Json::from(trial.row)),
            ("round", Json::Number(trial.round.into())),
            ("who", Json::from(trial.who.name())),
            ("void", Json::Boolean(trial.is_void())),
            ("cycles_tenths", report::optional(trial.cycles)),
            ("runs", Json::List(runs)),
        ])
    });
    Json::Object(vec![("verdicts", Json::List(verdicts)), ("trials", Json::List(runs.collect()))])
}

fn verdict(row: &Judged) -> Json {
    let comparisons = row.comparisons.iter().map(|comparison| {
        Json::Object(vec![
            ("rival", Json::from(rival(comparison.rival))),
            ("bar", Json::Text(describe_bar(comparison.bar))),
            ("theirs", figures(comparison.theirs)),
            ("ratio_permille", figures(comparison.ratio)),
            ("reached", Json::Boolean(comparison.is_reached)),
            ("is_judged", Json::Boolean(!row.is_short() && !comparison.is_thin)),
        ])
    });
    Json::Object(vec![
        ("row", Json::from(row.name)),
        ("figure", Json::from(unit(row.figure))),
        ("ours", row.ours.map_or(Json::Null, figures)),
        ("comparisons", Json::List(comparisons.collect())),
        ("cycles_tenths", report::optional(row.cycles)),
        ("cycles_tenths_needed", report::optional(row.cycles_min)),
        ("is_judged", Json::Boolean(!row.is_short())),
        ("void_runs", report::number(row.void_count as u64)),
    ])
}

fn figures(figures: Figures) -> Json {
    Json::Object(vec![("main", report::number(figures.main)), ("p90", report::optional(figures.p90))])
}

fn describe_comparison(figure: Figure, comparison: &Comparison) -> String {
    let p90 = comparison.ratio.p90.map(|p90| format!(", p90 {}", times(p90))).unwrap_or_default();
    let rounds = comparison.rounds.map(|(good, of)| format!(", {good} of {of} rounds")).unwrap_or_default();
    format!(
        "{} × {}{p90}{rounds} (bar {}; {})",
        times(comparison.ratio.main),
        rival(comparison.rival),
        describe_bar(comparison.bar),
        describe(figure, comparison.theirs)
    )
}

fn describe_bar(bar: Bar) -> String {
    match bar {
        Bar::AtMost(most) => format!("≤ {}", times(most)),
        Bar::AtLeast(least) => format!("≥ {}", times(least)),
        Bar::LatencyAtMost { median, p90: None } => format!("median ≤ {}", times(median)),
        Bar::LatencyAtMost { median, p90: Some(p90) } => {
            format!("median ≤ {}, p90 ≤ {}", times(median), times(p90))
        }
        Bar::LatencyInMostRounds { median, p90 } => {
            format!("median ≤ {}, p90 ≤ {} in 4 of 5", times(median), times(p90))
        }
    }
}

fn describe(figure: Figure, figures: Figures) -> String {
    match figure {
        Figure::CpuPerGb | Figure::CpuPerGbFetched => {
            format!("{}.{:03} s/GB", figures.main / 1_000_000, figures.main / 1_000 % 1_000)
        }
        Figure::RequestsPerCpuSecond => format!("{} requests per CPU second", figures.main),
        Figure::RequestsPerSecond => format!("{} requests/s", figures.main),
        Figure::Latency => format!("p50 {}, p90 {}", us(figures.main), us(figures.p90.unwrap_or(0))),
    }
}

const fn unit(figure: Figure) -> &'static str {
    match figure {
        Figure::CpuPerGb => "broker_us_per_gb",
        Figure::CpuPerGbFetched => "broker_us_per_gb_fetched",
        Figure::RequestsPerCpuSecond => "requests_per_broker_second",
        Figure::RequestsPerSecond => "requests_per_second",
        Figure::Latency => "latency_ns",
    }
}

const fn rival(rival: Rival) -> &'static str {
    match rival {
        Rival::Floor => "floor",
        Rival::Kafka => "kafka",
        Rival::Row(name) => name,
    }
}

/// A ratio with three digits behind the point.
fn times(permille: u64) -> String {
    format!("{}.{:03}", permille / 1_000, permille % 1_000)
}

/// Nanoseconds as microseconds.
fn us(nanoseconds: u64) -> String {
    format!("{}.{} µs", nanoseconds / 1_000, nanoseconds % 1_000 / 100)
}
