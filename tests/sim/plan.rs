//! What kind of story a seed tells.

use ringlog::model::Durability;
use ringlog::runtime::sim::SimRandom;
use ringlog::storage::commit_log::FILE_BYTES_MIN;
use ringlog::storage::partition::LogConfig;

/// The circumstances of all lives of a story.
#[derive(Clone, Debug)]
pub struct Plan {
    pub lives: u64,
    pub actions_max: u64,
    pub shards_max: u64,
    pub partitions: u64,
    pub arena_slabs: u64,
    pub commit_files: u64,
    pub commit_file_bytes: u64,
    pub commit_growth: bool,
    pub commit_depth: usize,
    pub open_files_max: usize,
    pub retained_bytes: u64,
    pub read_cache_bytes: u64,
    pub flush_interval_ms: i64,
    /// Write and sync errors happen.
    pub broken_writes: bool,
    pub broken_reads: bool,
    pub full_disk: bool,
    pub large_appends: bool,
    pub truncations: bool,
    pub deletions: bool,
    pub topic_changes: bool,
    /// Topics become `written` or `synced`, at a start and between.
    pub durability_changes: bool,
    /// Of a thousand lives, how many end in the death of the process, the loss of power, the loss of the arena alone;
    /// the others end cleanly.
    pub killed: u64,
    pub power_lost: u64,
    pub arena_lost: u64,
    /// Operations that are carried out after an action, at most: few make a slow disk.
    pub pace: u64,
    /// Small, medium and large appends, of a thousand.
    pub medium: u64,
    pub large: u64,
}

impl Plan {
    pub fn draw(random: &mut SimRandom) -> Self {
        let (killed, power_lost) =
            random.pick(&[(900, 0), (0, 850), (450, 400), (300, 300)]).unwrap_or((0, 0));
        Self {
            lives: random.between(2, 5),
            actions_max: random.pick(&[15, 60, 150, 300]).unwrap_or(60),
            shards_max: random.pick(&[1, 1, 2, 3]).unwrap_or(1),
            partitions: random.between(1, 4),
            arena_slabs: random.pick(&[1, 2, 4, 8]).unwrap_or(4),
            commit_files: random.between(2, 3),
            commit_file_bytes: FILE_BYTES_MIN + random.below(20) * 4096,
            commit_growth: random.coin(),
            commit_depth: random.pick(&[1, 1, 2, 3]).unwrap_or(1),
            open_files_max: random.pick(&[1, 2, 4, 64]).unwrap_or(64),
            retained_bytes: random.pick(&[0, 64 << 10, 1 << 20]).unwrap_or(0),
            read_cache_bytes: random.pick(&[256 << 10, 512 << 10, 2 << 20]).unwrap_or(1 << 20),
            flush_interval_ms: random.pick(&[5, 100, 1000, 20_000]).unwrap_or(100),
            broken_writes: random.chance(150),
            broken_reads: random.chance(150),
            full_disk: random.chance(200),
            large_appends: random.chance(500),
            truncations: random.chance(400),
            deletions: random.chance(400),
            topic_changes: random.chance(300),
            durability_changes: false,
            killed,
            power_lost,
            arena_lost: 50,
            pace: random.pick(&[1, 3, 8]).unwrap_or(3),
            medium: random.pick(&[0, 100, 500]).unwrap_or(0),
            large: random.pick(&[0, 20, 150]).unwrap_or(0),
        }
    }

    /// The settings of one more topic.
    pub fn topic(&self, random: &mut SimRandom) -> LogConfig {
        let written = random.coin();
        let mut config = LogConfig {
            durability: if written { Durability::Written } else { Durability::Synced },
            segment_bytes: random.pick(&[150 << 10, 200 << 10, 400 << 10, 1 << 30]).unwrap_or(1 << 30),
            segment_ms: random.pick(&[500, 100_000_000, 100_000_000]).unwrap_or(100_000_000),
            retention_ms: None,
            batch_bytes_max: 150 << 10,
            log_append_time: random.chance(200),
            index_interval_bytes: random.pick(&[1, 4096]).unwrap_or(4096),
            file_delete_delay_ms: random.pick(&[0, 100]).unwrap_or(0),
            ..LogConfig::default()
        };
        if written && random.coin() {
            config.flush_records = random.coin().then(|| random.between(2, 20) as i64);
            config.flush_ms = random.coin().then(|| random.between(1, 500) as i64);
        }
        if self.deletions && random.coin() {
            config.retention_bytes = Some(random.between(1, 8) * 100_000);
        }
        if self.deletions && random.chance(300) {
            config.retention_ms = Some(random.between(100, 10_000) as i64);
        }
        if config.segment_bytes < 1 << 30 && random.coin() {
            config.batch_bytes_max = config.segment_bytes as usize;
        }
        if random.chance(200) {
            config.segment_bytes = random.between(5, 60) << 10;
        }
        config
    }
}
