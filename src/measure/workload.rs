//! What a run of the loader does: kind, sizes, connections, pace, length. And which connection sends what where.

use std::time::Duration;

use super::batch::BatchShape;
use super::schedule::Pace;

/// What is loaded and measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests of one batch each, from sending to acknowledgement.
    Produce,
    /// Reading what was written a moment ago, again and again.
    Fetch,
    /// Batches from sending to their arrival at a consumer that waits at the tail.
    EndToEnd,
}

/// One run. Invariant (checked by [`Workload::check`]): counts are not zero and bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub kind: Kind,
    pub shape: BatchShape,
    pub partitions: u32,
    /// That produce; of [`Kind::Fetch`], that read.
    pub connections: u32,
    /// That read, of [`Kind::EndToEnd`].
    pub consumers: u32,
    /// Requests without a reply per producing connection.
    pub in_flight: u32,
    pub pace: Pace,
    /// Most bytes of records per fetch.
    pub fetch_bytes: u32,
    /// Of [`Kind::Fetch`]: what is written first, and then read.
    pub stored_bytes: u64,
    pub warm_up: Duration,
    pub measured: Duration,
    /// The measured time ends when so many bytes have passed in it.
    pub bytes_max: Option<u64>,
}

/// Why a workload cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    #[error("{what} must be from {min} to {max}, not {found}")]
    OutOfBounds { what: &'static str, min: u64, max: u64, found: u64 },
    #[error("one batch per partition takes {bytes} bytes of memory, at most {max} are used")]
    TooMuchMemory { bytes: u64, max: u64 },
}

/// Memory that the frames of a run may take. Unit: bytes.
const FRAMES_BYTES_MAX: u64 = 1 << 30;

impl Workload {
    /// A short produce at maximum rate, to be changed where a caller wants something else.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            shape: BatchShape { record_bytes: 1024, batch_bytes_max: 128 << 10 },
            partitions: 16,
            connections: 4,
            consumers: 4,
            in_flight: 5,
            pace: Pace::Closed,
            fetch_bytes: 1 << 20,
            stored_bytes: 32 << 20,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(5),
            bytes_max: None,
        }
    }

    /// # Errors
    /// What is out of its bounds.
    pub fn check(&self) -> Result<(), WorkloadError> {
        let bounded = |what, found: u64, min, max| match (min..=max).contains(&found) {
            true => Ok(()),
            false => Err(WorkloadError::OutOfBounds { what, min, max, found }),
        };
        let batch_bytes = self.shape.batch_bytes_max.max(self.shape.record_bytes) as u64;
        bounded("the number of partitions", self.partitions.into(), 1, 10_000)?;
        bounded("the number of connections", self.connections.into(), 1, 10_000)?;
        bounded("the number of consumers", self.consumers.into(), 1, 10_000)?;
        bounded("the number of requests in flight", self.in_flight.into(), 1, 10_000)?;
        bounded("the size of a batch", batch_bytes, 0, 64 << 20)?;
        bounded("the size of a fetch", self.fetch_bytes.into(), 1, 64 << 20)?;
        if let Pace::Open { per_second } = self.pace {
            bounded("the rate", per_second.into(), 1, 10_000_000)?;
        }
        let bytes = batch_bytes.saturating_mul(self.partitions.into());
        if bytes > FRAMES_BYTES_MAX {
            return Err(WorkloadError::TooMuchMemory { bytes, max: FRAMES_BYTES_MAX });
        }
        Ok(())
    }

    /// The partitions that connection `number` of `count` uses, in the order of use. With fewer partitions than
    /// connections several share one; otherwise each partition has one connection.
    #[must_use]
    pub fn partitions_of(&self, number: u32, count: u32) -> Vec<u32> {
        if self.partitions < count {
            return vec![number % self.partitions.max(1)];
        }
        (number..self.partitions).step_by(count.max(1) as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_connection_unless_connections_are_more() {
        let mut workload = Workload::new(Kind::Produce);
        for (partitions, connections) in [(16, 4), (1000, 64), (5, 5), (7, 3)] {
            workload.partitions = partitions;
            let mut all: Vec<u32> =
                (0..connections).flat_map(|number| workload.partitions_of(number, connections)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..partitions).collect::<Vec<_>>());
        }
        workload.partitions = 2;
        assert_eq!(
            (0..4).map(|number| workload.partitions_of(number, 4)).collect::<Vec<_>>(),
            [[0], [1], [0], [1]]
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(Workload::new(Kind::Fetch).check(), Ok(()));
        let none = Workload { connections: 0, ..Workload::new(Kind::Produce) };
        assert!(none.check().unwrap_err().to_string().contains("connections must be from 1 to 10000, not 0"));
        let large = Workload { partitions: 10_000, ..Workload::new(Kind::Produce) };
        assert!(matches!(large.check(), Err(WorkloadError::TooMuchMemory { .. })));
    }
}
