//! The metrics page: names, helps and labels, and how figures become series.
//!
//! Pure. Names and labels are stable: `tests/golden/metrics/names.txt` has them, and a change of it is a change for those who watch. The
//! number of series is bounded: by the shards, the listeners and the APIs, and no more than [`TOPICS_MAX`] topics have series.
//! What counts goes up only, until its shard begins anew: of a shard that is silent the last word stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::broker::driver::{DeviceFigures, PartitionFigures, STAGES, ShardFigures};
use crate::broker::owner::partitions::TopicFigures;
use crate::broker::shards::figures::ApiFigures;
use crate::model::{ErrorCode, Histogram, ProcessFigures};

/// Topics with series of their own.
pub const TOPICS_MAX: usize = 1_000;

/// All that a page is made of.
#[derive(Clone, Debug)]
pub struct Figures {
    pub about: About,
    /// The last word of each shard.
    pub shards: Vec<ShardFigures>,
    /// How many there are, and how many of them have not answered now.
    pub shard_count: usize,
    pub silent_count: usize,
    pub topics: NamedTopics,
    pub process: ProcessFigures,
}

/// The topics that have series: whoever has some keeps them.
#[derive(Clone, Debug, Default)]
pub struct NamedTopics {
    named: BTreeSet<Arc<str>>,
    others: usize,
}

impl NamedTopics {
    /// Names more, as far as the bound goes, and forgets those that are gone.
    pub fn follow(&mut self, shards: &[ShardFigures]) {
        let topics = shards.iter().flat_map(|shard| &shard.topics);
        let known: BTreeSet<&Arc<str>> = topics.map(|(topic, _)| &topic.name).collect();
        self.named.retain(|name| known.contains(name));
        for name in &known {
            if self.named.len() == TOPICS_MAX {
                break;
            }
            self.named.insert(Arc::clone(name));
        }
        self.others = known.len() - self.named.len();
    }
}

/// What does not change while the broker runs.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub version: &'static str,
    pub node_id: i32,
    /// As they are bound, by their numbers.
    pub listeners: Vec<String>,
    pub memory_bytes_max: u64,
    /// When the broker began to serve, since 1970. Unit: ms.
    pub started_ms: i64,
}

/// The page, in the text format of OpenMetrics 1.0.
///
/// # Errors
/// None: a string takes all that is written to it.
pub fn render(figures: Arc<Figures>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(figures)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page(Arc<Figures>);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = SeriesWriter { encoder };
        let figures = &*self.0;
        writer.about(figures)?;
        writer.requests(figures)?;
        writer.connections(figures)?;
        writer.topics(figures)?;
        writer.partitions(figures)?;
        writer.logs(figures)?;
        writer.devices(figures)?;
        writer.turns(figures)?;
        writer.memory(figures)?;
        writer.process(&figures.process)
    }
}

/// Label names and values.
type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

struct SeriesWriter<'e> {
    encoder: DescriptorEncoder<'e>,
}

impl SeriesWriter<'_> {
    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            labelled(&mut metric, &labels, |metric| {
                metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })?;
        }
        Ok(())
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            labelled(&mut metric, &labels, |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    fn histograms<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l, N>, &'l Histogram)>,
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in series {
            let buckets: Vec<(f64, u64)> = (histogram.buckets())
                .map(|(bound_us, count)| (bound_us.map_or(f64::INFINITY, seconds), count))
                .collect();
            let (sum, count) = (seconds(histogram.sum_us()), histogram.count());
            labelled(&mut metric, &labels, |metric| {
                metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })?;
        }
        Ok(())
    }

    fn gauge_of_seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn about(&mut self, figures: &Figures) -> fmt::Result {
        let About { version, node_id, started_ms, .. } = &figures.about;
        let node_id = node_id.to_string();
        self.gauges(
            "ringlog_build",
            "1, with the version of the broker and the number of its node",
            [([("version", *version), ("node_id", node_id.as_str())], 1)],
        )?;
        self.gauges("ringlog_shards", "Shards of the broker", [([], figures.shard_count as u64)])?;
        self.gauges(
            "ringlog_shards_silent",
            "Shards that did not say in time how they are",
            [([], figures.silent_count as u64)],
        )?;
        self.gauge_of_seconds(
            "ringlog_started_seconds",
            "When the broker began to serve, since 1970",
            seconds(started_ms.unsigned_abs().saturating_mul(1_000)),
        )
    }

    fn requests(&mut self, figures: &Figures) -> fmt::Result {
        let numbers = numbers(figures);
        let apis = || {
            figures.shards.iter().zip(&numbers).flat_map(|(shard, number)| {
                let of_shard = shard.requests.apis();
                of_shard
                    .map(move |(api, figures)| ([("shard", number.as_str()), ("api", api.name())], figures))
            })
        };
        let count = |of: fn(&ApiFigures) -> u64| apis().map(move |(labels, figures)| (labels, of(figures)));
        self.counters("ringlog_requests", "Requests taken", count(|api| api.requests))?;
        self.counters("ringlog_request_bytes", "Bytes of requests", count(|api| api.bytes_in))?;
        self.counters(
            "ringlog_reply_bytes",
            "Bytes of replies, records included",
            count(|api| api.bytes_out),
        )?;
        self.histograms(
            "ringlog_request_seconds",
            "From the turn of the shard that takes a request to the end of the one that makes its reply: a fetch's wait for data is in \
             it, a frame's wait for memory before it is taken is not",
            apis().map(|(labels, figures)| (labels, &figures.latency)),
        )?;
        let mut errors = Vec::new();
        for (labels, figures) in apis() {
            errors.extend(figures.errors.iter().map(|(&code, &count)| (labels, error_name(code), count)));
        }
        let errors = errors
            .iter()
            .map(|([shard, api], error, count)| ([*shard, *api, ("error", error.as_str())], *count));
        self.counters("ringlog_errors", "Error codes in replies, one for each part that says one", errors)
    }

    fn connections(&mut self, figures: &Figures) -> fmt::Result {
        let numbers = numbers(figures);
        let mut found = Vec::new();
        for (shard, number) in figures.shards.iter().zip(&numbers) {
            for (place, listener) in figures.about.listeners.iter().enumerate() {
                let of_it = shard.requests.listeners().get(place).copied().unwrap_or_default();
                found.push(([("shard", number.as_str()), ("listener", listener.as_str())], of_it));
            }
        }
        let open = found.iter().map(|(labels, listener)| (*labels, listener.open));
        self.gauges("ringlog_connections", "Open connections", open)?;
        let opened = found.iter().map(|(labels, listener)| (*labels, listener.opened));
        self.counters("ringlog_connections_opened", "Connections taken", opened)?;
        self.counters(
            "ringlog_connections_broken",
            "Connections closed for what their clients sent",
            of_shards(figures, &numbers, |shard| shard.requests.broken()),
        )
    }

    fn topics(&mut self, figures: &Figures) -> fmt::Result {
        let mut topics: BTreeMap<&str, TopicFigures> = BTreeMap::new();
        for (topic, more) in figures.shards.iter().flat_map(|shard| &shard.topics) {
            if figures.topics.named.contains(&topic.name) {
                add(topics.entry(&*topic.name).or_default(), more);
            }
        }
        self.gauges(
            "ringlog_topics_without_series",
            "Topics beyond the first 1000 that something was done to",
            [([], figures.topics.others as u64)],
        )?;
        let count = |of: fn(&TopicFigures) -> u64| {
            topics.iter().map(move |(&name, figures)| ([("topic", name)], of(figures)))
        };
        self.counters("ringlog_topic_batches_in", "Batches appended", count(|topic| topic.batches_in))?;
        self.counters("ringlog_topic_records_in", "Records appended", count(|topic| topic.records_in))?;
        self.counters("ringlog_topic_bytes_in", "Bytes of batches appended", count(|topic| topic.bytes_in))?;
        self.counters("ringlog_topic_bytes_out", "Bytes of batches fetched", count(|topic| topic.bytes_out))
    }

    fn partitions(&mut self, figures: &Figures) -> fmt::Result {
        // A topic may have been made again while its shards know different ones.
        let found: BTreeMap<(&str, usize), &PartitionFigures> = (figures.shards.iter())
            .flat_map(|shard| &shard.partitions)
            .map(|log| ((&*log.topic.name, log.partition), log))
            .collect();
        let indices: Vec<String> = found.keys().map(|(_, index)| index.to_string()).collect();
        let series = |of: fn(&PartitionFigures) -> u64| {
            found.iter().zip(&indices).map(move |((&(topic, _), &log), index)| {
                ([("topic", topic), ("partition", index.as_str())], of(log))
            })
        };
        self.gauges(
            "ringlog_partition_log_start_offset",
            "First offset",
            series(|log| log.log_start_offset.unsigned_abs()),
        )?;
        self.gauges(
            "ringlog_partition_high_watermark",
            "First offset that consumers do not read",
            series(|log| log.high_watermark.unsigned_abs()),
        )?;
        self.gauges(
            "ringlog_partition_log_end_offset",
            "Offset of the next record",
            series(|log| log.log_end_offset.unsigned_abs()),
        )?;
        self.gauges(
            "ringlog_partition_flushed_offset",
            "First offset that is not on stable media",
            series(|log| log.flushed_offset.unsigned_abs()),
        )?;
        self.gauges("ringlog_partition_bytes", "Bytes of the log", series(|log| log.size_bytes))
    }

    fn logs(&mut self, figures: &Figures) -> fmt::Result {
        let numbers = numbers(figures);
        let series = |of: fn(&ShardFigures) -> u64| of_shards(figures, &numbers, of);
        self.gauges("ringlog_partitions", "Partitions", series(|shard| shard.log.partitions))?;
        self.gauges(
            "ringlog_partitions_failed",
            "Partitions whose storage has failed",
            series(|shard| shard.log.failed_partitions),
        )?;
        self.counters(
            "ringlog_commit_log_groups",
            "Groups written to the commit log",
            series(|shard| shard.log.groups),
        )?;
        self.counters(
            "ringlog_commit_log_frames",
            "Frames gathered for them",
            series(|shard| shard.log.frames),
        )?;
        self.counters(
            "ringlog_commit_log_written_bytes",
            "Bytes of them, padding included",
            series(|shard| shard.log.group_bytes),
        )?;
        self.gauges(
            "ringlog_commit_log_bytes",
            "Bytes of the files of the commit log",
            series(|shard| shard.log.commit_log_bytes),
        )?;
        self.gauges(
            "ringlog_commit_log_needed_bytes",
            "Bytes of them that segments do not have on stable media",
            series(|shard| shard.log.commit_log_used_bytes),
        )?;
        self.gauges(
            "ringlog_unwritten_bytes",
            "Memory of chunks that segment files have not all of: how far write-behind is behind",
            series(|shard| shard.log.unwritten_bytes),
        )?;
        self.gauges(
            "ringlog_unflushed_bytes",
            "Bytes appended since the last flush round began",
            series(|shard| shard.log.unflushed_bytes),
        )?;
        self.gauges(
            "ringlog_segment_files",
            "Segment files held open",
            series(|shard| shard.log.open_segment_files),
        )?;
        self.gauges(
            "ringlog_producers",
            "Idempotent producers that are remembered",
            series(|shard| shard.log.producers),
        )
    }

    fn devices(&mut self, figures: &Figures) -> fmt::Result {
        type Kind = (&'static str, fn(&DeviceFigures) -> &Histogram);
        const KINDS: [Kind; 4] = [
            ("write", |device| &device.writes),
            ("durable_write", |device| &device.durable_writes),
            ("flush", |device| &device.flushes),
            ("read", |device| &device.reads),
        ];
        let numbers = numbers(figures);
        let found = figures.shards.iter().zip(&numbers).flat_map(|(shard, number)| {
            KINDS.map(|(kind, of)| ([("shard", number.as_str()), ("operation", kind)], of(&shard.device)))
        });
        self.histograms(
            "ringlog_device_seconds",
            "From asking for an operation on a file to seeing its end; a durable write ends on stable media",
            found,
        )?;
        let series = |of: fn(&ShardFigures) -> u64| of_shards(figures, &numbers, of);
        self.counters(
            "ringlog_device_written_bytes",
            "Bytes written to files",
            series(|shard| shard.device.written_bytes),
        )?;
        self.counters(
            "ringlog_device_read_bytes",
            "Bytes read from files",
            series(|shard| shard.device.read_bytes),
        )
    }

    fn turns(&mut self, figures: &Figures) -> fmt::Result {
        let numbers = numbers(figures);
        let series = |of: fn(&ShardFigures) -> u64| of_shards(figures, &numbers, of);
        self.counters("ringlog_turns", "Turns of the shard's loop", series(|shard| shard.turns.turns))?;
        self.counters(
            "ringlog_wakeups",
            "Turns to which another thread woke the shard",
            series(|shard| shard.turns.wakeups),
        )?;
        self.gauges(
            "ringlog_mesh_waiting",
            "Messages to other shards that wait, since a queue is full",
            series(|shard| shard.mesh_waiting),
        )?;
        let stalls = figures.shards.iter().zip(&numbers).flat_map(|(shard, number)| {
            STAGES.map(|stage| {
                ([("shard", number.as_str()), ("stage", stage.name())], shard.turns.stalls(stage))
            })
        });
        self.counters("ringlog_stalls", "Stages of turns that held the shard for 10 ms or more; what the kernel does with submissions is in none", stalls)?;
        let longest = figures.shards.iter().map(|shard| shard.turns.longest_us).max().unwrap_or(0);
        self.gauge_of_seconds(
            "ringlog_longest_stage_seconds",
            "The longest stage of a turn since the start",
            seconds(longest),
        )
    }

    fn memory(&mut self, figures: &Figures) -> fmt::Result {
        type Pool = (&'static str, fn(&ShardFigures) -> u64);
        const POOLS: [Pool; 4] = [
            ("arena", |shard| shard.log.arena_bytes - shard.log.arena_free_bytes.min(shard.log.arena_bytes)),
            ("read_cache", |shard| shard.log.read_cache_bytes),
            ("requests_and_replies", |shard| shard.memory.held),
            ("large_frames", |shard| shard.memory.large_frames),
        ];
        let numbers = numbers(figures);
        let found = figures.shards.iter().zip(&numbers).flat_map(|(shard, number)| {
            POOLS.map(|(pool, of)| ([("shard", number.as_str()), ("pool", pool)], of(shard)))
        });
        self.gauges("ringlog_memory_bytes", "Memory in use, by what for", found)?;
        self.gauges(
            "ringlog_memory_max_bytes",
            "memory.bytes; producer state and buffers of the commit log are in it and in no pool here",
            [([], figures.about.memory_bytes_max)],
        )?;
        let series = |of: fn(&ShardFigures) -> u64| of_shards(figures, &numbers, of);
        self.gauges("ringlog_arena_bytes", "Size of the arena", series(|shard| shard.log.arena_bytes))
    }

    fn process(&mut self, process: &ProcessFigures) -> fmt::Result {
        self.gauges(
            "ringlog_ring_workers",
            "Living threads of the kernel that do what rings cannot do at once (io-wq)",
            [([], process.ring_workers)],
        )?;
        self.gauge_of_seconds(
            "ringlog_ring_workers_cpu_seconds",
            "Processor time of those that live now",
            process.ring_worker_cpu_seconds,
        )?;
        let mut cpu = self.encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time",
            None,
            MetricType::Counter,
        )?;
        cpu.encode_counter::<NoLabelSet, _, u64>(&process.cpu_seconds, None)?;
        self.gauges(
            "process_resident_memory_bytes",
            "Resident memory, of the arena what was touched included",
            [([], process.resident_bytes)],
        )?;
        self.gauges("process_virtual_memory_bytes", "Address space", [([], process.virtual_bytes)])?;
        self.gauges("process_threads", "Threads", [([], process.threads)])?;
        self.gauges("process_open_fds", "Open files", [([], process.open_files)])?;
        self.gauges("process_max_fds", "Files that may be open", [([], process.open_files_max)])
    }
}

/// The labels before a value; none, if there are none.
fn labelled<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels<'_, N>,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result
where
    for<'l> Labels<'l, N>: EncodeLabelSet,
{
    if N == 0 {
        return encode(metric);
    }
    encode(&mut metric.encode_family(labels)?)
}

fn numbers(figures: &Figures) -> Vec<String> {
    figures.shards.iter().map(|shard| shard.number.to_string()).collect()
}

fn of_shards<'f>(
    figures: &'f Figures,
    numbers: &'f [String],
    of: fn(&ShardFigures) -> u64,
) -> impl Iterator<Item = (Labels<'f, 1>, u64)> {
    figures.shards.iter().zip(numbers).map(move |(shard, number)| ([("shard", number.as_str())], of(shard)))
}

const fn add(sum: &mut TopicFigures, more: &TopicFigures) {
    sum.batches_in += more.batches_in;
    sum.records_in += more.records_in;
    sum.bytes_in += more.bytes_in;
    sum.bytes_out += more.bytes_out;
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

/// Kafka's name, or the number of a code that has none here.
fn error_name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |error| error.name().to_owned())
}
