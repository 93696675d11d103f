//! The table: every setting, declared once. The structs, their docs, the parser's bounds, the reference that
//! `ringlog config keys` prints and what DescribeConfigs answers are made from these rows.
//!
//! A row is `field: type = key { what it says }`. Rows of `topic` have a field in [`TopicConfig`] and two keys:
//! the topic's own, and the broker's, which gives topics without one their default. Rows of `stated` have no
//! field, because only one value is possible so far; they are checked, and shown to who asks.
//! A computed default may use rows above its own.

use std::path::PathBuf;

use super::broker::{arena_bytes, memory_bytes, read_cache_bytes, socket_request_max_bytes};
use super::choices::{ShardCores, ShardIdle, TimestampType};
use super::error::Error;
use super::listener::{AdminListener, Listener};
use super::setting::{Alias, DefaultValue, KafkaType, Kind, Setting, Unit};
use super::values::{Field, Value, Values};
use crate::model::{BrokerId, Durability};

macro_rules! settings {
    (
        broker {
            $( $field:ident: $type:ty = $key:literal { meaning: $meaning:literal, $($row:tt)* } )*
        }
        topic {
            $( $topic_field:ident: $topic_type:ty = $topic_key:literal, of_broker $broker_key:literal {
                meaning: $topic_meaning:literal, $($topic_row:tt)*
            } )*
        }
        stated { $( $stated:expr, )* }
    ) => {
        /// All rows, in the order of the reference.
        pub const SETTINGS: &[Setting] = &[
            $( Setting { broker_key: Some($key), meaning: $meaning, $($row)* ..Setting::OF_BROKER }, )*
            $( Setting {
                topic_key: Some($topic_key), broker_key: Some($broker_key), meaning: $topic_meaning, $($topic_row)*
                ..Setting::OF_TOPIC
            }, )*
            $( $stated, )*
        ];

        /// The settings of one broker, checked. Read once, at start-up; the shards get copies.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct BrokerConfig {
            $( #[doc = concat!("`", $key, "`. ", $meaning)] pub $field: $type, )*
            /// What a topic has that sets nothing itself.
            pub topic_defaults: TopicConfig,
            /// What was given, for those who ask for it.
            pub(super) values: Values,
        }

        /// The settings of one topic: its own values, over the broker's defaults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct TopicConfig {
            $( #[doc = concat!("`", $topic_key, "`. ", $topic_meaning)] pub $topic_field: $topic_type, )*
        }

        impl BrokerConfig {
            /// Gives each field its value; what they mean together is not looked at.
            pub(super) fn from_values(values: Values) -> Result<Self, Error> {
                Ok(Self {
                    $( $field: values.field($key)?, )*
                    topic_defaults: TopicConfig { $( $topic_field: values.field($topic_key)?, )* },
                    values,
                })
            }
        }

        impl TopicConfig {
            /// Sets the field of the row called `key`, where it has one. Errors: what is wrong with the value's form.
            pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<(), &'static str> {
                match key {
                    $( $topic_key => self.$topic_field = <$topic_type>::from_value(Some(value))?, )*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

const INT_MAX: i64 = i32::MAX as i64;
const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
const GIB: i64 = 1024 * MIB;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const NEVER: DefaultValue = DefaultValue::Text("9223372036854775807");

settings! {
    broker {
        node_id: BrokerId = "node.id" {
            meaning: "The number of this broker in its cluster; the data directory keeps it.",
            kind: Kind::int(0, 2_097_151), default: DefaultValue::Text("0"),
            reason: "a single broker needs no choice; the maximum leaves room for 1024 shards under each number",
            honoured_by: "broker: metadata replies; storage: checked against the data directory",
        }
        listeners: Vec<Listener> = "listeners" {
            meaning: "Addresses to listen on, as PLAINTEXT://host:port, separated by commas; several may share the \
                one name PLAINTEXT (Kafka has at most one address per name, or two of one port), an empty host is \
                every IPv4 address, port 0 any free port.",
            kind: Kind::Text { kafka_type: KafkaType::List, form: "PLAINTEXT://host:port, separated by commas" },
            default: DefaultValue::Text("PLAINTEXT://127.0.0.1:9092,PLAINTEXT://[::1]:9092"),
            reason: "there is no access control yet, so only this machine may connect unless told otherwise",
            honoured_by: "broker/connection: listening; broker/handlers: metadata replies",
        }
        log_dir: PathBuf = "log.dirs" {
            meaning: "The directory where all data lies; made when missing.",
            kind: Kind::Text { kafka_type: KafkaType::List, form: "one directory" },
            default: DefaultValue::Text("./ringlog-data"),
            reason: "needs no privileges and is easy to find",
            refuses: Some("several directories come later: this version keeps one"),
            honoured_by: "storage: all files; controller: the metadata log",
        }
        admin_listener: AdminListener = "admin.listener" {
            meaning: "Where health and metrics are served by HTTP (/metrics, /healthz, /readyz, /version), as http://host:port; \
                off: nowhere. Anybody who reaches it may read it. If the default's port is taken, the broker starts without.",
            kind: Kind::Text { kafka_type: KafkaType::String, form: "http://host:port, or off" },
            default: DefaultValue::Text("http://127.0.0.1:9644"),
            reason: "a broker that cannot be watched is not run; only this machine may ask unless told otherwise",
            honoured_by: "admin: listening",
        }
        metrics_per_partition: bool = "metrics.per.partition" {
            meaning: "Whether the metrics have the offsets and the size of each partition (of at most 10000 of each shard), not of topics alone.",
            kind: Kind::Boolean, default: DefaultValue::Text("false"),
            reason: "five series for each partition are too many for most collectors",
            honoured_by: "admin: metrics",
        }
        num_partitions: i32 = "num.partitions" {
            meaning: "Partitions of a topic that is created without saying how many.",
            kind: Kind::int(1, 10_000), default: DefaultValue::Text("1"),
            reason: "one partition keeps the order of all records; the maximum is Kafka's for one request",
            honoured_by: "controller: CreateTopics and auto-creation",
        }
        default_replication_factor: i16 = "default.replication.factor" {
            meaning: "Replicas of a topic that is created without saying how many.",
            kind: Kind::int(1, 1), default: DefaultValue::Text("1"),
            reason: "there is one broker",
            refuses: Some("replication comes later: this version is one broker"),
            honoured_by: "controller: CreateTopics and auto-creation",
        }
        auto_create_topics_enable: bool = "auto.create.topics.enable" {
            meaning: "Whether asking for the metadata of an unknown topic creates it, when the client allows that.",
            kind: Kind::Boolean, default: DefaultValue::Text("true"),
            reason: "Kafka's default; a first produce works without preparation",
            honoured_by: "broker/handlers: Metadata",
        }
        max_connections: u32 = "max.connections" {
            meaning: "Most client connections at a time; one more is closed at once.",
            kind: Kind::int(0, INT_MAX), default: DefaultValue::Text("2147483647"),
            reason: "Kafka's default: the limit on open files bounds them, and the ring at 16384",
            honoured_by: "broker/connection: accepting",
        }
        connections_max_idle_ms: Option<u64> = "connections.max.idle.ms" {
            meaning: "A connection on which nothing has been received or sent for this long is closed; -1: never.",
            kind: Kind::Number { kafka_type: KafkaType::Long, min: 1, max: i64::MAX, or: Some(-1) },
            unit: Unit::Milliseconds, default: DefaultValue::Text("600000"),
            reason: "Kafka's default; clients open a closed connection again by themselves",
            honoured_by: "broker/connection: idle timer",
        }
        memory_bytes: usize = "memory.bytes" {
            meaning: "Bounds the sum of pools, inbound frames, caches, producer state (a sixteenth) and the bytes held for replies; \
                the program itself, indices of open segments and what a start recovers come on top.",
            kind: Kind::long(16 * MIB, 1 << 46), unit: Unit::Bytes,
            default: DefaultValue::Computed { rule: "a quarter of the RAM, at most 1 GiB", compute: memory_bytes },
            reason: "leaves the machine to its other programs until told otherwise",
            honoured_by: "broker/shards: budgets; runtime: pools",
        }
        arena_dir: PathBuf = "arena.dir" {
            meaning: "Where the files of the arena lie, the memory that outlives the process: a tmpfs.",
            kind: Kind::Text { kafka_type: KafkaType::String, form: "one directory" },
            default: DefaultValue::Text("/dev/shm"),
            reason: "the tmpfs that every Linux has; a directory on a disk works, at the price of write-back",
            honoured_by: "storage: arena",
        }
        arena_bytes: usize = "arena.bytes" {
            meaning: "Size of the arena, where the tails of all partitions live; full, it delays appends.",
            kind: Kind::long(4 * MIB, 1 << 45), unit: Unit::Bytes,
            default: DefaultValue::Computed { rule: "half of memory.bytes, at most 256 MiB", compute: arena_bytes },
            reason: "some 100 ms of the fastest input, and small enough for a container's tmpfs to be raised to",
            honoured_by: "storage: arena",
        }
        read_cache_bytes: usize = "read.cache.bytes" {
            meaning: "Most bytes of old data kept in memory for readers behind the tail.",
            kind: Kind::long(MIB, 1 << 45), unit: Unit::Bytes,
            default: DefaultValue::Computed { rule: "an eighth of memory.bytes", compute: read_cache_bytes },
            reason: "it holds read-ahead, not a working set: direct reads are fast",
            honoured_by: "storage: read cache",
        }
        socket_request_max_bytes: usize = "socket.request.max.bytes" {
            meaning: "Largest request; a connection that announces a larger one is closed.",
            kind: Kind::int(1, INT_MAX), unit: Unit::Bytes,
            default: DefaultValue::Computed {
                rule: "104857600, or what memory.bytes leaves beside arena, read cache and producer state if that is less",
                compute: socket_request_max_bytes,
            },
            reason: "Kafka's default, unless such a request could never be admitted",
            honoured_by: "broker/connection: framing",
        }
        queued_max_request_bytes: Option<u64> = "queued.max.request.bytes" {
            meaning: "Most bytes of requests received and not yet answered; -1: what memory.bytes leaves for them.",
            kind: Kind::Number { kafka_type: KafkaType::Long, min: 1, max: i64::MAX, or: Some(-1) },
            unit: Unit::Bytes, default: DefaultValue::Text("-1"),
            reason: "Kafka's default; memory.bytes is the bound that counts",
            honoured_by: "broker/connection: reading",
        }
        fetch_max_bytes: usize = "fetch.max.bytes" {
            meaning: "Most bytes of records in a fetch reply, whatever the client asks for; the first batch is \
                always sent whole.",
            kind: Kind::int(1024, INT_MAX), unit: Unit::Bytes, default: DefaultValue::Text("57671680"),
            reason: "Kafka's default",
            honoured_by: "broker/handlers: Fetch",
        }
        log_retention_check_interval_ms: u64 = "log.retention.check.interval.ms" {
            meaning: "How often segments are looked at for retention.",
            kind: Kind::long(1, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("300000"),
            reason: "Kafka's default",
            honoured_by: "storage: retention",
        }
        producer_id_expiration_ms: u64 = "producer.id.expiration.ms" {
            meaning: "A partition forgets an idempotent producer that has not written to it for this long, or earlier if there are too many: a shard keeps one per 16 KiB of memory.bytes (at most 1048576), a partition 65536.",
            kind: Kind::int(1, INT_MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("86400000"),
            reason: "Kafka's default: a day, longer than producers retry",
            honoured_by: "storage: producer state",
        }
        commit_log_depth: u32 = "commit.log.depth" {
            meaning: "Most commit-log writes in flight at a time; what arrives meanwhile makes the next group.",
            kind: Kind::int(1, 16), default: DefaultValue::Text("1"),
            reason: "one in flight makes the largest groups; more pays on disks that serve several as fast as one",
            honoured_by: "storage: commit log",
        }
        commit_log_file_bytes: u64 = "commit.log.file.bytes" {
            meaning: "Size of the first commit-log file, written through before it is used; a multiple of 4096.",
            kind: Kind::long(MIB, GIB), unit: Unit::Bytes, default: DefaultValue::Text("4194304"),
            reason: "written within milliseconds, so that the first start is fast; the log grows with its use",
            honoured_by: "storage: commit log",
        }
        commit_log_bytes_max: u64 = "commit.log.bytes.max" {
            meaning: "Most bytes that the files of the commit log may take on disk, all shards together, but for two files of \
                each; full, it delays appends.",
            kind: Kind::long(4 * MIB, 1 << 40), unit: Unit::Bytes, default: DefaultValue::Text("1073741824"),
            reason: "seconds of the peak of a fast disk, and a recovery that stays short",
            honoured_by: "storage: commit log",
        }
        shard_cores: ShardCores = "shard.cores" {
            meaning: "How many shards there are, or on which CPUs; each needs 32 MiB of memory.bytes and 2 MiB of arena.bytes. auto: one on each CPU that the \
                process may use, but for one CPU if there are four or more, as far as memory.bytes and arena.bytes (8 MiB each) go.",
            kind: Kind::Text {
                kafka_type: KafkaType::String,
                form: "auto, a count, or CPUs such as 0,2-5 (one alone: 3-3)",
            },
            default: DefaultValue::Text("auto"),
            reason: "every core that it is given; only the operator knows which are isolated",
            honoured_by: "runtime: pinning",
        }
        shard_idle: ShardIdle = "shard.idle" {
            meaning: "What a shard does without work: park sleeps, spin polls and keeps its core busy; one CPU must be left to the \
                control thread.",
            kind: Kind::word(&["park", "spin"]), default: DefaultValue::Text("park"),
            reason: "an idle broker costs nothing; spinning saves a wake-up per request on a core of its own",
            honoured_by: "runtime: the shard's loop",
        }
    }
    topic {
        durability: Durability = "ringlog.durability", of_broker "ringlog.durability" {
            meaning: "What an acknowledgement promises: synced survives the loss of power, written the death of the \
                process. Not given, flush.messages=1 means synced, and any other finite flush.messages or flush.ms \
                means written. A topic's own is given when it is made, by either, and is not changed after that; a \
                topic without follows the broker's, which may be another after a start.",
            kind: Kind::word(&["synced", "written"]), default: DefaultValue::Text("synced"), is_dynamic: false,
            reason: "acknowledged means stored",
            honoured_by: "storage: append and high watermark",
        }
        flush_messages: Option<u64> = "flush.messages", of_broker "log.flush.interval.messages" {
            meaning: "A partition is flushed to stable media after this many records.",
            kind: Kind::long(1, i64::MAX), unit: Unit::Records, default: NEVER,
            reason: "Kafka's default: never for this reason; synced topics are flushed by every acknowledgement",
            honoured_by: "config: the durability it means; storage: write-behind",
        }
        flush_ms: Option<u64> = "flush.ms", of_broker "log.flush.interval.ms" {
            meaning: "A partition is flushed to stable media when its oldest record that is not is this old.",
            kind: Kind::long(0, i64::MAX), unit: Unit::Milliseconds, default: NEVER, is_null_by_default: true,
            reason: "Kafka's default: never for this reason; synced topics are flushed by every acknowledgement",
            honoured_by: "config: the durability it means; storage: write-behind",
        }
        min_insync_replicas: u32 = "min.insync.replicas", of_broker "min.insync.replicas" {
            meaning: "A produce with acks=all is refused while fewer replicas are in sync, this broker included.",
            kind: Kind::int(1, INT_MAX), default: DefaultValue::Text("1"),
            reason: "Kafka's default; with one broker a larger value refuses every such produce",
            honoured_by: "broker/handlers: Produce",
        }
        max_message_bytes: usize = "max.message.bytes", of_broker "message.max.bytes" {
            meaning: "Largest record batch, as compressed by the producer.",
            kind: Kind::int(0, INT_MAX), unit: Unit::Bytes, default: DefaultValue::Text("1048588"),
            reason: "Kafka's default: 1 MiB and the batch's overhead in the log",
            honoured_by: "storage: append; broker/handlers: Produce",
        }
        message_timestamp_type: TimestampType = "message.timestamp.type", of_broker "log.message.timestamp.type" {
            meaning: "Whether records keep the producer's time or get the broker's at the append.",
            kind: Kind::word(&["CreateTime", "LogAppendTime"]), default: DefaultValue::Text("CreateTime"),
            reason: "Kafka's default",
            honoured_by: "storage: append",
        }
        message_timestamp_before_max_ms: Option<u64> =
            "message.timestamp.before.max.ms", of_broker "log.message.timestamp.before.max.ms" {
            meaning: "A batch whose first record is older than this is refused, unless the broker sets the time.",
            kind: Kind::long(0, i64::MAX), unit: Unit::Milliseconds, default: NEVER,
            reason: "Kafka's default: history may be loaded",
            honoured_by: "storage: append",
        }
        message_timestamp_after_max_ms: Option<u64> =
            "message.timestamp.after.max.ms", of_broker "log.message.timestamp.after.max.ms" {
            meaning: "A batch whose first record, or whose header, is further in the future than this is refused, unless \
                the broker sets the time.",
            kind: Kind::long(0, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("3600000"),
            reason: "Kafka's default: an hour; one wrong clock would keep a segment from retention for ever",
            honoured_by: "storage: append",
        }
        segment_bytes: u64 = "segment.bytes", of_broker "log.segment.bytes" {
            meaning: "A segment is closed before it grows above this size.",
            kind: Kind::int(MIB, INT_MAX), unit: Unit::Bytes, default: DefaultValue::Text("1073741824"),
            reason: "Kafka's default; the minimum is that of Kafka 4",
            honoured_by: "storage: roll",
        }
        segment_ms: u64 = "segment.ms", of_broker "log.roll.ms" {
            meaning: "A segment is closed when its first record is this old, so that retention can reach it.",
            kind: Kind::long(1, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("604800000"),
            is_null_by_default: true,
            aliases: &[Alias { key: "log.roll.hours", factor: HOUR_MS, default: Some("168") }],
            reason: "Kafka's default: seven days",
            honoured_by: "storage: roll",
        }
        segment_jitter_ms: u64 = "segment.jitter.ms", of_broker "log.roll.jitter.ms" {
            meaning: "Up to this much, by chance, is taken off segment.ms, so that segments are not closed all at once.",
            kind: Kind::long(0, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("0"),
            is_null_by_default: true,
            aliases: &[Alias { key: "log.roll.jitter.hours", factor: HOUR_MS, default: Some("0") }],
            reason: "Kafka's default",
            honoured_by: "storage: roll",
        }
        segment_index_bytes: u64 = "segment.index.bytes", of_broker "log.index.size.max.bytes" {
            meaning: "A segment is closed before its offset index grows above this size.",
            kind: Kind::int(4, INT_MAX), unit: Unit::Bytes, default: DefaultValue::Text("10485760"),
            reason: "Kafka's default",
            honoured_by: "storage: roll",
        }
        index_interval_bytes: u64 = "index.interval.bytes", of_broker "log.index.interval.bytes" {
            meaning: "An index entry is made at the first batch after this many bytes of log.",
            kind: Kind::int(0, INT_MAX), unit: Unit::Bytes, default: DefaultValue::Text("4096"),
            reason: "Kafka's default: one block is read to find an offset",
            honoured_by: "storage: index",
        }
        retention_ms: Option<u64> = "retention.ms", of_broker "log.retention.ms" {
            meaning: "Segments whose newest record is older than this are deleted; -1: never.",
            kind: Kind::long(-1, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("604800000"),
            is_null_by_default: true,
            aliases: &[
                Alias { key: "log.retention.minutes", factor: MINUTE_MS, default: None },
                Alias { key: "log.retention.hours", factor: HOUR_MS, default: Some("168") },
            ],
            reason: "Kafka's default: seven days",
            honoured_by: "storage: retention",
        }
        retention_bytes: Option<u64> = "retention.bytes", of_broker "log.retention.bytes" {
            meaning: "The oldest segments of a partition are deleted while it stays above this size; -1: never.",
            kind: Kind::long(-1, i64::MAX), unit: Unit::Bytes, default: DefaultValue::Text("-1"),
            reason: "Kafka's default",
            honoured_by: "storage: retention",
        }
        file_delete_delay_ms: u64 = "file.delete.delay.ms", of_broker "log.segment.delete.delay.ms" {
            meaning: "How long the file of a deleted segment stays on disk.",
            kind: Kind::long(0, i64::MAX), unit: Unit::Milliseconds, default: DefaultValue::Text("60000"),
            reason: "Kafka's default: readers that hold the file can end",
            honoured_by: "storage: retention",
        }
    }
    stated {
        Setting {
            broker_key: Some("advertised.listeners"),
            meaning: "What clients are told to connect to, as PLAINTEXT://host:port: one for all listeners, or one for \
                each in the same order; not given, each listener is advertised as it is bound.",
            kind: Kind::Text { kafka_type: KafkaType::List, form: "PLAINTEXT://host:port, separated by commas" },
            reason: "right wherever clients reach the broker under the address it listens on",
            honoured_by: "broker/handlers: metadata replies",
            ..Setting::OF_BROKER
        },
        Setting {
            topic_key: Some("cleanup.policy"),
            broker_key: Some("log.cleanup.policy"),
            meaning: "What happens to old segments: delete removes them by retention.",
            kind: Kind::Word { kafka_type: KafkaType::List, words: &["delete"] },
            default: DefaultValue::Text("delete"),
            reason: "Kafka's default",
            refuses: Some("log compaction comes later"),
            honoured_by: "storage: retention",
            ..Setting::OF_TOPIC
        },
        Setting {
            topic_key: Some("compression.type"),
            broker_key: Some("compression.type"),
            meaning: "With what batches are compressed in the log: producer keeps them as they came.",
            kind: Kind::word(&["producer"]), default: DefaultValue::Text("producer"),
            reason: "Kafka's default; the broker does no work per record",
            refuses: Some("the broker does not compress again: set it in the producer"),
            honoured_by: "storage: append",
            ..Setting::OF_TOPIC
        },
        Setting {
            topic_key: Some("preallocate"),
            broker_key: Some("log.preallocate"),
            meaning: "Whether the whole of segment.bytes is allocated when a segment is made.",
            kind: Kind::ONLY_FALSE, default: DefaultValue::Text("false"),
            reason: "Kafka's default",
            refuses: Some("space is always allocated ahead, in steps that grow with use, never a whole segment"),
            honoured_by: "storage: allocation",
            ..Setting::OF_TOPIC
        },
        Setting {
            topic_key: Some("unclean.leader.election.enable"),
            broker_key: Some("unclean.leader.election.enable"),
            meaning: "Whether a replica that was not in sync may become leader and lose acknowledged records.",
            kind: Kind::ONLY_FALSE, default: DefaultValue::Text("false"),
            reason: "Kafka's default; acknowledged data is never lost",
            refuses: Some("there is one replica, so there is no other leader to elect"),
            honoured_by: "controller: leaders",
            ..Setting::OF_TOPIC
        },
        Setting {
            topic_key: Some("remote.storage.enable"),
            meaning: "Whether closed segments are moved to remote storage.",
            kind: Kind::ONLY_FALSE, default: DefaultValue::Text("false"),
            reason: "Kafka's default",
            refuses: Some("there is no tiered storage"),
            honoured_by: "storage: all segments are local",
            ..Setting::OF_TOPIC
        },
    }
}

/// Keys of Kafka's broker that are refused with more to say than "unknown".
pub(super) const UNSUPPORTED_BROKER_KEYS: &[(&str, &str)] = &[
    ("advertised.host.name", "use advertised.listeners"),
    ("broker.id", "use node.id"),
    ("controller.listener.names", NO_QUORUM),
    ("controller.quorum.bootstrap.servers", NO_QUORUM),
    ("controller.quorum.voters", NO_QUORUM),
    ("inter.broker.listener.name", "there is one broker, which talks to no other"),
    ("listener.security.protocol.map", "every listener is PLAINTEXT: there is no TLS and no SASL yet"),
    ("log.dir", "use log.dirs"),
    ("num.io.threads", "there is one thread per core: see shard.cores"),
    ("num.network.threads", "there is one thread per core: see shard.cores"),
    ("port", "use listeners"),
    ("process.roles", NO_QUORUM),
    ("socket.receive.buffer.bytes", "the kernel sizes the buffers of each connection by its use"),
    ("socket.send.buffer.bytes", "the kernel sizes the buffers of each connection by its use"),
    ("zookeeper.connect", "there is no ZooKeeper: the broker keeps its metadata itself"),
];

/// Keys of Kafka's topics that are refused with more to say than "unknown".
pub(super) const UNSUPPORTED_TOPIC_KEYS: &[(&str, &str)] = &[
    ("compression.gzip.level", NO_COMPRESSION),
    ("compression.lz4.level", NO_COMPRESSION),
    ("compression.zstd.level", NO_COMPRESSION),
    ("delete.retention.ms", NO_COMPACTION),
    ("follower.replication.throttled.replicas", NO_REPLICATION),
    ("leader.replication.throttled.replicas", NO_REPLICATION),
    ("local.retention.bytes", NO_TIERS),
    ("local.retention.ms", NO_TIERS),
    ("max.compaction.lag.ms", NO_COMPACTION),
    ("min.cleanable.dirty.ratio", NO_COMPACTION),
    ("min.compaction.lag.ms", NO_COMPACTION),
    ("remote.log.copy.disable", NO_TIERS),
    ("remote.log.delete.on.disable", NO_TIERS),
];

const NO_QUORUM: &str = "there is one broker, which keeps its metadata itself: leave the key out";
const NO_COMPRESSION: &str = "the broker does not compress again: set it in the producer";
const NO_COMPACTION: &str = "log compaction comes later";
const NO_REPLICATION: &str = "replication comes later";
const NO_TIERS: &str = "there is no tiered storage";
