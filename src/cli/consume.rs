//! `ringlog consume`: records of a topic to stdout.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;

use super::Error;
use super::bootstrap::Bootstrap;
use super::json::Json;
use crate::client::{ConsumedRecord, Consumer, ConsumerSettings, Place, Start};
use crate::model::{Offset, PartitionIndex};
use crate::protocol::records::{Header, Headers};

/// Print the records of a topic
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Consume {
    /// What to read
    topic: String,
    /// Read this partition alone
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// beginning, end, an offset, or @ and a time in milliseconds since 1970
    #[arg(short, long, value_name = "PLACE", default_value = "beginning", value_parser = parse_start)]
    from: Start,
    /// Stop after so many records
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Wait for more at the end, instead of stopping there
    #[arg(long)]
    follow: bool,
    /// One JSON object per record, with offset, time, key and headers, instead of values alone
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    bootstrap: Bootstrap,
}

const EXAMPLES: &str = "\
Examples:
  ringlog consume orders
  ringlog consume orders --from end --follow --json
  ringlog consume orders --partition 2 --from 1000 --count 10
  ringlog consume orders --from @1767225600000";

/// How long a broker may hold back its answer when there is nothing to read.
const WAIT: Duration = Duration::from_millis(500);

impl Consume {
    pub(super) fn run(self) -> Result<(), Error> {
        let mut consumer = Consumer::new(self.bootstrap.connect()?, ConsumerSettings::default());
        let partitions = match self.partition {
            Some(partition) => vec![PartitionIndex(partition)],
            None => {
                let topic = consumer.client().topic(&self.topic, false)?;
                topic.partitions.iter().map(|partition| partition.index).collect()
            }
        };
        for partition in partitions {
            consumer.assign(&self.topic, partition, self.from)?;
        }
        let mut output = BufWriter::new(io::stdout().lock());
        let mut left = self.count.unwrap_or(u64::MAX);
        loop {
            let mut written = Ok(());
            let polled = consumer.poll(WAIT, |consumed| {
                written = self.write(&mut output, consumed);
                left = left.saturating_sub(1);
                if left == 0 || written.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            match written.and_then(|()| output.flush()) {
                // A reader that has gone (`| head`) is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Error::Stdout { error }),
                Ok(()) if left == 0 || polled.at_end && !self.follow => return Ok(()),
                Ok(()) => {}
            }
        }
    }

    fn write(&self, output: &mut impl Write, consumed: &ConsumedRecord<'_>) -> io::Result<()> {
        if self.json {
            return writeln!(output, "{}", record_json(consumed));
        }
        output.write_all(consumed.record.value.unwrap_or_default())?;
        output.write_all(b"\n")
    }
}

/// Bytes that are no text stand as hexadecimal digits under a name of their own.
fn record_json(consumed: &ConsumedRecord<'_>) -> Json {
    let record = &consumed.record;
    Json::Object(vec![
        ("partition", Json::Number(consumed.partition.0.into())),
        ("offset", Json::Number(record.offset.0)),
        ("timestamp", Json::Number(record.timestamp)),
        bytes_json("key", "key_hex", record.key),
        bytes_json("value", "value_hex", record.value),
        ("headers", headers_json(&record.headers)),
    ])
}

pub(super) fn headers_json(headers: &Headers<'_>) -> Json {
    let header = |header: Header<'_>| {
        Json::Object(vec![
            bytes_json("key", "key_hex", Some(header.key)),
            bytes_json("value", "value_hex", header.value),
        ])
    };
    Json::List(headers.iter().map(header).collect())
}

pub(super) fn bytes_json(
    name: &'static str,
    hex_name: &'static str,
    bytes: Option<&[u8]>,
) -> (&'static str, Json) {
    let Some(bytes) = bytes else { return (name, Json::Null) };
    match std::str::from_utf8(bytes) {
        Ok(text) => (name, Json::from(text)),
        Err(_) => (hex_name, Json::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect())),
    }
}

fn parse_start(text: &str) -> Result<Start, String> {
    let number = |digits: &str| digits.parse::<i64>().ok().filter(|&number| number >= 0);
    match text {
        "beginning" => Ok(Start::At(Place::Beginning)),
        "end" => Ok(Start::At(Place::End)),
        _ => match text.strip_prefix('@') {
            Some(time) => number(time).map(|time| Start::At(Place::Time(time))),
            None => number(text).map(|offset| Start::Offset(Offset(offset))),
        }
        .ok_or_else(|| "expected beginning, end, an offset, or @ and milliseconds since 1970".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_understood() {
        assert_eq!(parse_start("end"), Ok(Start::At(Place::End)));
        assert_eq!(parse_start("17"), Ok(Start::Offset(Offset(17))));
        assert_eq!(parse_start("@5"), Ok(Start::At(Place::Time(5))));
        for wrong in ["", "-1", "@", "@-5", "start", "1x"] {
            assert!(parse_start(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_hexadecimal() {
        assert_eq!(bytes_json("a", "a_hex", Some(b"\xff\x00")), ("a_hex", Json::from("ff00")));
        assert_eq!(bytes_json("a", "a_hex", Some(b"x")), ("a", Json::from("x")));
        assert_eq!(bytes_json("a", "a_hex", None), ("a", Json::Null));
    }
}
