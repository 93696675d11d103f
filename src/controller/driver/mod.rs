//! The control thread's part: owns the state and its files, answers commands when their records are durable, and publishes
//! images.
//!
//! Blocking, without a thread of its own; whoever calls it runs it where waiting harms nobody. Generic over the disk, so
//! that the simulator can end it at any step. Lives: one per broker.
//!
//! Invariants: a reply leaves after one flush has made the records of its whole batch durable; after a failed write the
//! state is what it was, the commands of the batch are answered `KAFKA_STORAGE_ERROR`, and the records go into a new log.

mod error;
mod store;

pub use error::Error;

use self::store::{Loaded, Store};
use super::identity::{self, Identity};
use super::log::FrameBuilder;
use super::state::{Command, Context, Refusal, Reply, State};
use super::uuid::random_uuid;
use crate::config::BrokerConfig;
use crate::model::image::{BrokerImage, Endpoint};
use crate::model::{ClusterId, DirectoryId, Image};
use crate::runtime;
use crate::runtime::disk::BlockingDisk;
use std::path::Path;
use std::sync::Arc;

/// Commands are put into one batch, and so under one flush, until their records have this length. Unit: bytes.
const BATCH_BYTES: usize = 4 << 20;
/// The records of one command. Unit: bytes.
const COMMAND_BYTES_MAX: usize = 32 << 20;

/// See the module.
pub struct Controller<D: BlockingDisk> {
    config: Arc<BrokerConfig>,
    random: Box<dyn FnMut() -> [u8; 16] + Send>,
    identity: Identity,
    state: State,
    store: Store<D>,
    image: Arc<Image>,
    knows_all_topics: bool,
}

/// Commands that are decided, but not durable.
struct Batch {
    ahead: State,
    frame: FrameBuilder,
    replies: Vec<Result<Reply, Refusal>>,
}

impl<D: BlockingDisk> Controller<D> {
    /// Opens the metadata in the data directory `disk`, or makes it if the directory is new, and registers a start of the
    /// broker: the leader epoch of every partition is raised, durably. The caller holds the lock of the directory.
    ///
    /// `random` gives 16 random bytes at each call; ids are made of them.
    ///
    /// # Errors
    /// See [`Error`]; nothing that can be read is lost by trying again.
    pub fn open(
        disk: D,
        config: Arc<BrokerConfig>,
        mut random: Box<dyn FnMut() -> [u8; 16] + Send>,
    ) -> Result<Self, Error> {
        let found = read_identity(&disk)?;
        let is_first = found.is_none();
        let identity = match found {
            Some(identity) => {
                // A process that ended before it flushed this name has left it to us.
                disk.sync_directory(Path::new(""))?;
                identity
            }
            None => first_start(&disk, &config, &mut random)?,
        };
        if identity.node_id != config.node_id {
            return Err(Error::OtherNode { configured: config.node_id, found: identity.node_id });
        }
        let broker = BrokerImage { id: config.node_id, endpoints: Vec::new() };
        let Loaded { state, store, needs_snapshot, is_whole } =
            store::load(disk, identity.cluster_id, &broker)?;
        let image = Arc::new(state.image().clone());
        let knows_all_topics = is_whole && !is_first;
        let mut controller = Self { config, random, identity, state, store, image, knows_all_topics };
        if needs_snapshot {
            controller.store.compact(&controller.state)?;
        }
        let batch = controller.decide(&[Command::RegisterStart]);
        controller.commit(batch.ahead, batch.frame)?;
        controller.publish();
        Ok(controller)
    }

    /// Whose data directory this is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether what was read at the start is known to be all that there was: a topic that is not in it was deleted. Not said of
    /// metadata that had to be made, since the data may be older, and not where a write was interrupted: that is told apart
    /// from damage to the newest records by nothing.
    #[must_use]
    pub const fn knows_all_topics(&self) -> bool {
        self.knows_all_topics
    }

    /// The newest image. Everything in it is durable.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image)
    }

    /// What clients are told of this broker, known when its sockets are bound. Makes a new image.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        self.state.set_broker(BrokerImage { id: self.identity.node_id, endpoints });
        self.image = Arc::new(self.state.image().clone());
    }

    /// Carries out `commands` in order, makes what they change durable, and publishes it. One reply per command, in order.
    ///
    /// A later command sees what an earlier one did. All of a batch share one flush; very long ones are cut into several.
    pub fn handle(&mut self, commands: &[Command]) -> Vec<Result<Reply, Refusal>> {
        let mut replies = Vec::with_capacity(commands.len());
        while let Some(rest) = commands.get(replies.len()..).filter(|rest| !rest.is_empty()) {
            let batch = self.decide(rest);
            match self.commit(batch.ahead, batch.frame) {
                Ok(()) => replies.extend(batch.replies),
                Err(error) => {
                    tracing::error!(
                        "{} commands are refused, the metadata log cannot be written: {error}",
                        rest.len()
                    );
                    replies.resize(commands.len(), Err(Refusal::Storage));
                }
            }
        }
        self.publish();
        replies
    }

    /// Decides the first commands, at least one, until their records make a batch.
    fn decide(&mut self, commands: &[Command]) -> Batch {
        let ahead = self.state.clone();
        let frame = FrameBuilder::new(ahead.image().metadata_offset());
        let mut batch = Batch { ahead, frame, replies: Vec::new() };
        for command in commands {
            if batch.frame.body_bytes() >= BATCH_BYTES {
                break;
            }
            let mut context = Context { config: &self.config, random: &mut *self.random };
            let reply = batch.add(command, &mut context);
            batch.replies.push(reply);
        }
        batch
    }

    fn commit(&mut self, ahead: State, frame: FrameBuilder) -> Result<(), runtime::Error> {
        if frame.is_empty() {
            return Ok(());
        }
        self.store.append(frame, &self.state)?;
        self.state = ahead;
        if self.store.is_long()
            && let Err(error) = self.store.compact(&self.state)
        {
            tracing::warn!("no snapshot of the metadata was written, the log grows on: {error}");
        }
        Ok(())
    }

    fn publish(&mut self) {
        if self.image.metadata_offset() != self.state.image().metadata_offset() {
            self.image = Arc::new(self.state.image().clone());
        }
    }
}

impl Batch {
    fn add(&mut self, command: &Command, context: &mut Context<'_>) -> Result<Reply, Refusal> {
        let (records, reply) = self.ahead.decide(command, context)?;
        let mut frame = FrameBuilder::new(self.ahead.image().metadata_offset());
        for record in &records {
            frame.push(record);
        }
        if frame.body_bytes() > COMMAND_BYTES_MAX {
            return Err(Refusal::TooLarge { max: COMMAND_BYTES_MAX });
        }
        for record in &records {
            self.ahead.apply_decided(record);
        }
        self.frame.append(&frame);
        Ok(reply)
    }
}

/// The identity of a data directory; `None` if it has none yet.
///
/// # Errors
/// It cannot be read, or is not one of this format.
pub fn read_identity<D: BlockingDisk>(disk: &D) -> Result<Option<Identity>, Error> {
    let path = Path::new(identity::PATH);
    let bytes = match disk.read_file(path, identity::BYTES_MAX) {
        Err(error) if error.is_not_found() => return Ok(None),
        bytes => bytes?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let parsed = Identity::parse(&text).map_err(|source| Error::Identity { path: path.to_owned(), source });
    parsed.map(Some)
}

/// Makes the metadata of a new data directory. The identity is written last: with it the directory is complete.
fn first_start<D: BlockingDisk>(
    disk: &D,
    config: &BrokerConfig,
    random: &mut dyn FnMut() -> [u8; 16],
) -> Result<Identity, Error> {
    store::remove_unfinished(disk)?;
    let identity = Identity {
        cluster_id: ClusterId(random_uuid(random)),
        node_id: config.node_id,
        directory_id: DirectoryId(random_uuid(random)),
    };
    store::make_first_log(disk, identity.cluster_id)?;
    disk.replace_file(Path::new(identity::PATH), identity.to_text().as_bytes())?;
    Ok(identity)
}

#[cfg(test)]
mod tests;
