//! From runs to verdicts: the median of the rounds, ratios, and whether they reach their bars.

use super::{Bar, Contestant, Figure, Row, Trial};

/// A contestant's figures for a row. For a latency the median and the 90th percentile, otherwise one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub main: u64,
    pub p90: Option<u64>,
}

/// What a row is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    Floor,
    Kafka,
    /// Another row of ours.
    Row(&'static str),
}

/// A row against one rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    pub rival: Rival,
    pub bar: Bar,
    pub theirs: Figures,
    /// Ours per theirs. Unit: 1/1000.
    pub ratio: Figures,
    /// Of [`Bar::LatencyInMostRounds`]: rounds that reach the bar, of how many.
    pub rounds: Option<(usize, usize)>,
    /// There are too few runs that count for a verdict.
    pub is_thin: bool,
    pub is_reached: bool,
}

/// Runs that must count, of each, before anything is said of a median.
pub const ROUNDS_MIN: usize = 3;

/// A row's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub name: &'static str,
    pub title: &'static str,
    pub figure: Figure,
    /// `None`: no run of ours counts.
    pub ours: Option<Figures>,
    pub comparisons: Vec<Comparison>,
    /// The fewest cycles of any of our runs. Unit: 1/10.
    pub cycles: Option<u64>,
    /// [`Row::cycles_min`]. Unit: 1/10.
    pub cycles_min: Option<u64>,
    /// Runs that count for nothing.
    pub void_count: usize,
}

impl Judged {
    /// Whether our runs were too short to say anything: no bar is reached then, and none is missed.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.ours.is_some()
            && self.cycles_min.is_some_and(|least| self.cycles.is_none_or(|found| found < least))
    }
}

/// Judges every row by those of its runs that count.
#[must_use]
pub fn judge(rows: &[Row], trials: &[Trial]) -> Vec<Judged> {
    rows.iter().map(|row| judge_row(row, trials)).collect()
}

fn judge_row(row: &Row, trials: &[Trial]) -> Judged {
    let of_row = |name: &'static str, who| {
        trials.iter().filter(move |trial| trial.row == name && trial.who == who && !trial.is_void())
    };
    let by_round = |name, who| -> Vec<(u32, Figures)> {
        of_row(name, who).filter_map(|trial| Some((trial.round, figures(row.figure, trial)?))).collect()
    };
    let ours = by_round(row.name, Contestant::Ringlog);
    let rivals = [
        (Rival::Floor, row.floor, by_round(row.name, Contestant::Floor)),
        (Rival::Kafka, row.kafka, by_round(row.name, Contestant::Kafka)),
        match row.own {
            Some((name, bar)) => (Rival::Row(name), Some(bar), by_round(name, Contestant::Ringlog)),
            None => (Rival::Floor, None, Vec::new()),
        },
    ];
    let comparisons =
        rivals.into_iter().filter_map(|(rival, bar, theirs)| compare(rival, bar?, &ours, &theirs));
    Judged {
        name: row.name,
        title: row.title,
        figure: row.figure,
        ours: median_of(&ours),
        comparisons: comparisons.collect(),
        cycles: of_row(row.name, Contestant::Ringlog).filter_map(|trial| trial.cycles).min(),
        cycles_min: row.cycles_min(),
        void_count: trials.iter().filter(|trial| trial.row == row.name && trial.is_void()).count(),
    }
}

/// The figures of one trial.
fn figures(figure: Figure, trial: &Trial) -> Option<Figures> {
    let first = &trial.runs.first()?.1;
    let main = match figure {
        Figure::CpuPerGb => first.broker_us_per_gb()?,
        Figure::CpuPerGbFetched => {
            let both = &trial.runs.get(1)?.1;
            // Both runs produce at the same rate: what the second needs more, per second, is for fetching.
            let per_second =
                |us_per_gb: u64, bytes_per_second: u64| u128::from(us_per_gb) * u128::from(bytes_per_second);
            let produced = per_second(first.broker_us_per_gb()?, first.bytes_per_second());
            let fetched = both.bytes_per_second();
            let more = per_second(both.broker_us_per_gb()?, fetched).saturating_sub(produced);
            u64::try_from(more.checked_div(u128::from(fetched))?).ok()?
        }
        Figure::RequestsPerCpuSecond => first.requests_per_broker_second()?,
        Figure::RequestsPerSecond => first.requests_per_second(),
        Figure::Latency => first.latency.p50,
    };
    let p90 = (figure == Figure::Latency).then_some(first.latency.p90);
    Some(Figures { main, p90 })
}

fn compare(rival: Rival, bar: Bar, ours: &[(u32, Figures)], theirs: &[(u32, Figures)]) -> Option<Comparison> {
    let (our_median, their_median) = (median_of(ours)?, median_of(theirs)?);
    let ratio = ratio_of(our_median, their_median)?;
    let mut rounds = None;
    let is_reached = match bar {
        Bar::AtMost(most) => ratio.main <= most,
        Bar::AtLeast(least) => ratio.main >= least,
        Bar::LatencyAtMost { median, p90 } => {
            ratio.main <= median && p90.is_none_or(|most| ratio.p90.is_some_and(|p90| p90 <= most))
        }
        Bar::LatencyInMostRounds { median, p90 } => {
            let pairs = ours.iter().filter_map(|(round, our)| {
                let (_, their) = theirs.iter().find(|(other, _)| other == round)?;
                ratio_of(*our, *their)
            });
            let reached: Vec<bool> = pairs
                .map(|ratio| ratio.main <= median && ratio.p90.is_some_and(|found| found <= p90))
                .collect();
            let good = reached.iter().filter(|good| **good).count();
            rounds = Some((good, reached.len()));
            good >= ROUNDS_MIN && good * 5 >= reached.len() * 4
        }
    };
    let is_thin = ours.len().min(theirs.len()) < ROUNDS_MIN;
    Some(Comparison { rival, bar, theirs: their_median, ratio, rounds, is_thin, is_reached })
}

fn ratio_of(ours: Figures, theirs: Figures) -> Option<Figures> {
    let permille = |ours: u64, theirs: u64| {
        let scaled = u128::from(ours) * 1_000;
        u64::try_from(scaled.checked_div(u128::from(theirs))?).ok()
    };
    let p90 = ours.p90.zip(theirs.p90).and_then(|(ours, theirs)| permille(ours, theirs));
    Some(Figures { main: permille(ours.main, theirs.main)?, p90 })
}

fn median_of(rounds: &[(u32, Figures)]) -> Option<Figures> {
    let main = median(rounds.iter().map(|(_, figures)| figures.main).collect())?;
    Some(Figures { main, p90: median(rounds.iter().filter_map(|(_, figures)| figures.p90).collect()) })
}

/// The middle one; of two in the middle the lower.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests;
