//! The control thread's side of logs that begin anew: when every shard has come to rest it takes their memory, recovers all of it
//! together, as at a start, and gives each its part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::control::ToShard;
use super::logs::Lives;
use super::reserve;
use super::start::RunningShard;
use crate::controller::Controller;
use crate::controller::state::Command;
use crate::model::image::Image;
use crate::runtime::disk::RealDisk;
use crate::runtime::memory::Arena;
use crate::storage::recovery::{Recovered, RecoveryOptions};

/// What a shard gets back.
pub(super) struct Revived {
    pub(super) arena: Arena,
    /// Of the life that begins.
    pub(super) recovery: RecoveryOptions,
    /// The metadata that it begins with.
    pub(super) image: Arc<Image>,
    /// Its part; or it is to be tried again, and whether only room was wanting.
    pub(super) recovered: Result<Recovered, bool>,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) enum Revival {
    #[default]
    Idle,
    /// Shards that have come to rest.
    Draining(BTreeSet<u16>),
    /// Their memory.
    HandingOver(BTreeMap<u16, Arena>),
}

impl Revival {
    /// A shard's log cannot go on: a new life is written down, and all are told.
    pub(super) fn begin(&mut self, controller: &mut Controller<RealDisk>, shards: &[RunningShard]) {
        if !matches!(self, Self::Idle) {
            return;
        }
        let granted = controller.handle(&[Command::RegisterStart]).iter().all(Result::is_ok);
        let image = controller.image();
        for shard in shards {
            let _ = shard.mail.push(ToShard::Image(Arc::clone(&image)));
            let _ = shard.mail.send(ToShard::BeginAnew(granted));
        }
        if granted {
            *self = Self::Draining(BTreeSet::new());
        }
    }

    /// A shard has come to rest.
    pub(super) fn note_detached(&mut self, shard: u16, shards: &[RunningShard]) {
        let Self::Draining(detached) = self else { return };
        detached.insert(shard);
        if detached.len() == shards.len() {
            *self = Self::HandingOver(BTreeMap::new());
            for shard in shards {
                let _ = shard.mail.send(ToShard::HandOver);
            }
        }
    }

    /// A shard's memory. With the last of them, all is recovered.
    pub(super) fn take_arena(
        &mut self,
        shard: u16,
        arena: Arena,
        lives: &mut Lives,
        image: Arc<Image>,
        shards: &[RunningShard],
    ) {
        let Self::HandingOver(arenas) = self else {
            // It has been given up meanwhile.
            let (recovery, recovered) = (lives.recovery, Err(false));
            if let Some(shard) = shards.get(usize::from(shard)) {
                let _ = shard.revived.send(Revived { arena, recovery, image, recovered });
            }
            return;
        };
        arenas.insert(shard, arena);
        if arenas.len() < shards.len() {
            return;
        }
        let arenas = std::mem::take(arenas);
        *self = Self::Idle;
        let mut arenas: Vec<Arena> = arenas.into_values().collect();
        if let Err(error) = reserve::release(&lives.disk) {
            tracing::warn!(%error, "the room that is kept for recovery cannot be used");
        }
        let parts: Vec<Result<Recovered, bool>> = match lives.begin_again(&mut arenas, &image) {
            Ok(parts) => parts.into_iter().map(Ok).collect(),
            Err(error) => {
                tracing::error!(%error, "the logs cannot be recovered; it is tried again");
                *self = Self::Draining(BTreeSet::new());
                shards.iter().map(|_| Err(error.is_disk_full())).collect()
            }
        };
        for ((shard, arena), recovered) in shards.iter().zip(arenas).zip(parts) {
            let (recovery, image) = (lives.recovery, Arc::clone(&image));
            let _ = shard.revived.send(Revived { arena, recovery, image, recovered });
        }
    }

    /// A shard has ended: it comes to nothing, and those that wait for their memory go on without.
    pub(super) fn give_up(&mut self, lives: &Lives, image: &Arc<Image>, shards: &[RunningShard]) {
        let Self::HandingOver(arenas) = std::mem::take(self) else { return };
        for (number, arena) in arenas {
            let (recovery, image) = (lives.recovery, Arc::clone(image));
            if let Some(shard) = shards.get(usize::from(number)) {
                let _ = shard.revived.send(Revived { arena, recovery, image, recovered: Err(false) });
            }
        }
    }
}
