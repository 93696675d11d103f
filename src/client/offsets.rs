//! Offsets by time, and the ends of a partition.

use std::collections::BTreeMap;

use super::error::check;
use super::{Client, Error, Result};
use crate::model::{BrokerId, Offset, PartitionIndex};
use crate::protocol::kafka::messages::list_offsets::{
    EARLIEST_TIMESTAMP, FLUSHED_TIMESTAMP, LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsRequest,
    ListOffsetsResponse, ListOffsetsTopic, MAX_TIMESTAMP,
};

/// A place in a partition's log, to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first record that is still there.
    Beginning,
    /// Behind the last record that consumers may see (the high watermark).
    End,
    /// The first record at or after this time. Unit: ms since 1970.
    Time(i64),
    /// The record with the largest time.
    LargestTime,
    /// Behind the last record that is on stable media. Only Ringlog knows; other brokers refuse, or nothing is found.
    Flushed,
}

/// What was found at a [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// `None`: no record is at or after the time, or there is no record at all.
    pub offset: Option<Offset>,
    /// The record's time, where a time was looked for.
    pub timestamp: Option<i64>,
}

impl Client {
    /// Looks a place up in each of these partitions of a topic; the answers are in the order of the questions.
    ///
    /// # Errors
    /// `NoSuchPartition`, `Refused`; of the connection, after retries.
    pub fn offsets(&mut self, topic: &str, places: &[(PartitionIndex, Place)]) -> Result<Vec<Found>> {
        let mut found: BTreeMap<usize, Found> = BTreeMap::new();
        self.retrying(|client| {
            let asked = client.offsets_once(topic, places, &mut found);
            if asked.as_ref().is_err_and(Error::is_retriable) {
                client.forget(topic);
            }
            asked
        })?;
        Ok(found.into_values().collect())
    }

    /// Asks the leaders of what is not found yet.
    fn offsets_once(
        &mut self,
        topic: &str,
        places: &[(PartitionIndex, Place)],
        found: &mut BTreeMap<usize, Found>,
    ) -> Result<()> {
        // A request answers one question per partition: a second one about the same partition goes into a second request.
        let mut rounds: BTreeMap<PartitionIndex, usize> = BTreeMap::new();
        let mut requests: BTreeMap<(BrokerId, usize), BTreeMap<PartitionIndex, usize>> = BTreeMap::new();
        for (number, &(partition, _)) in places.iter().enumerate() {
            if found.contains_key(&number) {
                continue;
            }
            let leader = self.leader(topic, partition)?.0;
            let round = rounds.entry(partition).or_default();
            requests.entry((leader, *round)).or_default().insert(partition, number);
            *round = round.saturating_add(1);
        }
        for ((leader, _), questions) in requests {
            self.offsets_at(leader, topic, &questions, places, found)?;
        }
        Ok(())
    }

    fn offsets_at(
        &mut self,
        leader: BrokerId,
        topic: &str,
        questions: &BTreeMap<PartitionIndex, usize>,
        places: &[(PartitionIndex, Place)],
        found: &mut BTreeMap<usize, Found>,
    ) -> Result<()> {
        let partition = |(&partition, &number): (&PartitionIndex, &usize)| {
            let timestamp = match places.get(number)?.1 {
                Place::Beginning => EARLIEST_TIMESTAMP,
                Place::End => LATEST_TIMESTAMP,
                Place::LargestTime => MAX_TIMESTAMP,
                Place::Flushed => FLUSHED_TIMESTAMP,
                // Negative numbers have other meanings.
                Place::Time(timestamp) => timestamp.max(0),
            };
            let partition_index = partition.0;
            Some(ListOffsetsPartition { partition_index, timestamp, ..ListOffsetsPartition::default() })
        };
        let partitions = questions.iter().filter_map(partition).collect();
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic { name: topic, partitions }],
            timeout_ms: super::admin::millis(self.settings().request_timeout),
            ..ListOffsetsRequest::default()
        };
        let reply = self.ask(leader, &request)?;
        let response: ListOffsetsResponse<'_> = reply.body()?;
        let rows = response.topics.iter().filter(|row| row.name == topic).flat_map(|row| &row.partitions);
        let rows: BTreeMap<i32, _> = rows.map(|row| (row.partition_index, row)).collect();
        for (&partition, &number) in questions {
            let row = rows.get(&partition.0).ok_or_else(|| Error::Missing {
                address: self.settings().bootstrap.join(","),
                what: format!("{topic}-{partition}"),
            })?;
            check(row.error_code, || format!("{topic}-{partition}"), None)?;
            let misunderstood = places.get(number).is_some_and(|(_, place)| *place == Place::Flushed)
                && row.timestamp != FLUSHED_TIMESTAMP;
            let offset = Some(Offset(row.offset)).filter(|offset| offset.0 >= 0 && !misunderstood);
            let timestamp = Some(row.timestamp).filter(|&timestamp| timestamp >= 0);
            found.insert(number, Found { offset, timestamp });
        }
        Ok(())
    }
}
