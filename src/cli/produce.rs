//! `ringlog produce`: each line of stdin becomes a record.

use std::io::{self, BufRead as _, Read as _};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::bootstrap::{Bootstrap, parse_pair};
use super::json::Json;
use super::{Error, print};
use crate::client::{Acks, Producer, ProducerSettings};
use crate::model::PartitionIndex;
use crate::protocol::records::{Codec, Header, NewRecord};

/// Send each line of stdin as a record
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Produce {
    /// Where to; created if it is not there and the broker is set to (auto.create.topics.enable)
    topic: String,
    /// Where to; chosen by key without it, as Kafka's clients do
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// What stands before it in a line is the record's key; a line without it has no key
    #[arg(short, long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "NAME", default_value = "none")]
    codec: Codec,
    /// Who must have a record before it counts as sent
    #[arg(long, value_name = "WHO", value_enum, default_value_t = AcksArgument::All)]
    acks: AcksArgument,
    /// A header for every record; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    header: Vec<(String, String)>,
    /// Say what was sent as a JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AcksArgument {
    All,
    Leader,
    None,
}

const EXAMPLES: &str = "\
Examples:
  echo hello | ringlog produce greetings
  ringlog produce orders --key-separator : --codec zstd < orders.txt
  ringlog produce orders --partition 0 --header source=shell --acks leader";

/// Longest line. Unit: bytes.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// Lines read ahead of the broker.
const LINES_AHEAD: usize = 64;
/// With no new line for so long, what is there is sent.
const IDLE: Duration = Duration::from_millis(5);

impl Produce {
    pub(super) fn run(self) -> Result<(), Error> {
        let acks = match self.acks {
            AcksArgument::All => Acks::All,
            AcksArgument::Leader => Acks::Leader,
            AcksArgument::None => Acks::None,
        };
        let idempotent = acks == Acks::All;
        let settings =
            ProducerSettings { codec: self.codec, acks, idempotent, ..ProducerSettings::default() };
        let mut producer = Producer::new(self.bootstrap.connect()?, settings)?;
        let (sender, lines) = sync_channel(LINES_AHEAD);
        // Ends with stdin, or with the process: a read of stdin cannot be called off.
        thread::spawn(move || read_lines(&sender));
        let mut stored = 0_u64;
        loop {
            match lines.recv_timeout(IDLE) {
                Ok(line) => self.send(&mut producer, &line?)?,
                Err(RecvTimeoutError::Timeout) => producer.flush()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            settle(&mut producer, &mut stored)?;
        }
        producer.flush()?;
        settle(&mut producer, &mut stored)?;
        let count = i64::try_from(stored).unwrap_or(i64::MAX);
        if self.json {
            let topic = ("topic", Json::from(self.topic.as_str()));
            return print(&format!("{}\n", Json::Object(vec![topic, ("records", Json::Number(count))])));
        }
        print(&format!("sent {count} {} to {}\n", if count == 1 { "record" } else { "records" }, self.topic))
    }

    fn send(&self, producer: &mut Producer, line: &[u8]) -> Result<(), Error> {
        let split = self.key_separator.as_deref().and_then(|separator| split_at(line, separator.as_bytes()));
        let (key, value) = split.map_or((None, line), |(key, value)| (Some(key), value));
        let headers: Vec<Header<'_>> = self
            .header
            .iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: Some(value.as_bytes()) })
            .collect();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
        let record = NewRecord { timestamp, key, value: Some(value), headers: &headers };
        producer.send(&self.topic, self.partition.map(PartitionIndex), &record)?;
        Ok(())
    }
}

/// Counts what is stored; the first batch that is not ends the command.
fn settle(producer: &mut Producer, stored: &mut u64) -> Result<(), Error> {
    while let Some(delivery) = producer.next_delivery() {
        delivery.outcome?;
        *stored = stored.saturating_add(u64::from(delivery.record_count.unsigned_abs()));
    }
    Ok(())
}

/// Sends the lines of stdin without their ends, until it ends or nobody listens.
fn read_lines(sender: &SyncSender<Result<Vec<u8>, Error>>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = stdin.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let next = match read {
            Ok(0) => return,
            Ok(bytes) if line.last() != Some(&b'\n') && u64::try_from(bytes) == Ok(LINE_BYTES_MAX) => {
                Err(Error::LineTooLong { bytes_max: LINE_BYTES_MAX })
            }
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                Ok(line)
            }
            Err(error) => Err(Error::Stdin { error }),
        };
        let ends = next.is_err();
        if sender.send(next).is_err() || ends {
            return;
        }
    }
}

fn split_at<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let width = separator.len().max(1);
    let place = line.windows(width).position(|window| window == separator)?;
    Some((line.get(..place)?, line.get(place.checked_add(width)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        assert_eq!(split_at(b"a:b:c", b":"), Some((&b"a"[..], &b"b:c"[..])));
        assert_eq!(split_at(b"a::b", b"::"), Some((&b"a"[..], &b"b"[..])));
        assert_eq!(split_at(b":", b":"), Some((&b""[..], &b""[..])));
        assert_eq!(split_at(b"ab", b":"), None);
        assert_eq!(split_at(b"", b":"), None);
        assert_eq!(split_at(b"ab", b""), None);
    }
}
