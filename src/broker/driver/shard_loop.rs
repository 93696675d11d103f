//! The shard's loop: completions in, everything that they set in motion out, then sleep in the ring.
//!
//! One turn handles all completions before it asks storage what to write, so that appends that came together share a
//! commit group, and all replies of a connection share a send.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::Error;
use super::control::{FromShard, ToShard};
use super::disk::Storage;
use super::figures::{Stage, TurnFigures, now_us};
use super::frames::{FrameBuffers, LONE_LOOK_MS};
use super::logs::Life;
use super::peers::{Peers, ToPeer, Together};
use super::rebuild::Rebuild;
use super::revival::Revived;
use super::sockets::{Client, Lent};
use super::token::{Token, is_same};
use crate::broker::shards::{ConnectionId, Shard};
use crate::config::{BrokerConfig, ShardIdle};
use crate::model::Now;
use crate::model::number::index;
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::mailbox::{Receiver, Sender};
use crate::runtime::memory::Arena;
use crate::runtime::net::{Listener, Socket};
use crate::runtime::ring::{Completion, Outcome, Ring};
use crate::storage::checkpoint::CheckpointPartition;

/// Longest time that a stop takes; then the rest is left to the next start's recovery. Unit: ms.
const STOP_MS_MAX: i64 = 4_500;
/// So long before that, replies are not waited for any more: some clients do not read. Unit: ms.
const STOP_REPLIES_MS: i64 = 3_500;
/// After accepting failed (no descriptors left), it is tried again so much later. Unit: ms.
const ACCEPT_RETRY_MS: i64 = 100;
/// While memory is wanting, who holds the most of it and lets it lie is closed; looked at so often. Unit: ms.
const RELIEF_INTERVAL_MS: i64 = 250;
/// A connection receives and sends at once: with one part in so many of the ring's operations as connections, half are left.
const CLIENT_OPERATIONS_SHARE: usize = 4;
/// So many are closed at a time.
const RELIEF_COUNT: usize = 8;
/// Frames for whose replies there is no room that are tried in a turn.
const WITHOUT_ROOM_MAX: usize = 64;

/// So long before that, logs are closed whatever is still under way between shards. Unit: ms.
const STOP_CLOSE_MS: i64 = 2_500;

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StopStep {
    /// What has been asked of other shards is still under way, or there is no stop.
    Finishing,
    /// It is not; others may still ask this one.
    Quiet,
    /// The log is being sealed.
    Closing,
    /// Nothing is left to do but for the others.
    Resting,
}

/// What a stopped shard leaves.
pub(super) struct Stopped {
    /// All partitions, if everything is sealed; `None`: the next start must recover.
    pub(super) clean: Option<Vec<CheckpointPartition>>,
}

/// Everything that a shard's thread has.
pub(super) struct ShardLoop {
    pub(super) shard: Shard<Arena>,
    pub(super) ring: Ring,
    pub(super) storage: Storage,
    pub(super) listeners: Vec<Rc<Listener>>,
    pub(super) from_control: Receiver<ToShard>,
    pub(super) to_control: Sender<FromShard>,
    /// Where its memory comes back when the logs begin anew.
    pub(super) revives: mpsc::Receiver<Revived>,
    pub(super) peers: Peers,
    pub(super) together: Arc<Together>,
    pub(super) stop_step: StopStep,
    pub(super) frames: FrameBuffers,
    pub(super) config: Arc<BrokerConfig>,
    pub(super) clients: Vec<Option<Client>>,
    pub(super) client_count: usize,
    /// Listeners whose accept has ended, and when to ask again.
    pub(super) accept_again: Vec<(i64, usize)>,
    pub(super) next_idle_check_ms: i64,
    /// When a stop must be over; `None` while serving.
    pub(super) stop_deadline_ms: Option<i64>,
    /// Of the steady clock, as all deadlines here.
    pub(super) now_ms: i64,
    /// Questions that found the control thread's mailbox full.
    pub(super) unsent: VecDeque<FromShard>,
    pub(super) life: Life,
    pub(super) rebuild: Rebuild,
    /// An empty buffer for the connection that receives next.
    pub(super) spare: Vec<u8>,
    /// Connections that wait for memory to receive.
    pub(super) waiting: VecDeque<ConnectionId>,
    /// Connections with a whole frame that waits for room.
    pub(super) held_up: VecDeque<ConnectionId>,
    /// Whose frame was taken last without asking for room, and what it held before.
    pub(super) let_through: Option<(ConnectionId, usize)>,
    /// When to look for connections that let memory lie; `i64::MAX` while none is wanting.
    pub(super) next_relief_ms: i64,
    /// The clock of the turn before.
    pub(super) last_turn_ms: i64,
    pub(super) turns: TurnFigures,
}

impl ShardLoop {
    /// Serves until the control thread says stop and everything is at rest.
    pub(super) fn run(mut self) -> Result<Stopped, Error> {
        for number in 0..self.listeners.len() {
            self.accept(number);
        }
        let mut mail = Vec::new();
        loop {
            self.last_turn_ms = self.now_ms;
            let began_us = now_us();
            let now = clocks_at(began_us);
            self.now_ms = now.steady_ms;
            self.turns.begin_turn(began_us);
            self.shard.begin_turn(began_us);
            self.shard.set_now(now);
            let completions = self.take_completions();
            if completions > 0 {
                self.end_stage(Stage::Completions, completions);
            }
            self.from_control.take_all(&mut mail);
            let mut messages = mail.len();
            for message in mail.drain(..) {
                self.handle_mail(message);
            }
            messages += self.take_peers();
            let is_busy = self.handle_time(now) || messages > 0 || completions > 0;
            if is_busy {
                self.end_stage(Stage::Messages, messages);
            }
            self.settle();
            // What is taken now is carried out now: nothing else may come that wakes the shard.
            while self.feed_held_up() {
                self.settle();
            }
            if self.relieve() {
                self.settle();
            }
            if let Some(stopped) = self.poll_stopped() {
                return Ok(stopped);
            }
            if self.stop_deadline_ms.is_none() {
                let fails =
                    self.shard.must_begin_anew() || self.rebuild.has_room_come(&self.life.disk, self.now_ms);
                if self.rebuild.is_due(fails, self.now_ms) {
                    self = self.proceed_rebuild();
                    self.peers.flush();
                }
            }
            if is_busy {
                self.end_stage(Stage::Settling, completions + messages);
            }
            if self.shard.has_ended_requests() {
                self.shard.end_turn(now_us());
            }
            self.wait()?;
        }
    }

    /// What the kernel and the workers have done. Returns how much that was.
    fn take_completions(&mut self) -> usize {
        let mut count = 0;
        while let Some(completion) = self.ring.next_completion() {
            count += 1;
            self.handle(completion);
        }
        while let Some(completion) = self.storage.poll_ended() {
            count += 1;
            self.shard.handle_completion(completion);
        }
        count
    }

    /// Carries on until nothing is left that can be done without waiting.
    pub(super) fn settle(&mut self) {
        loop {
            self.shard.handle_events();
            let mut resumed = false;
            while let Some(id) = self.shard.poll_resumable() {
                resumed = true;
                self.with_client(id, Client::resume);
            }
            if !resumed {
                break;
            }
        }
        while let Some(question) = self.shard.poll_question() {
            let shard = self.life.place.number;
            self.unsent.push_back(FromShard::Question { shard, question });
        }
        self.send_questions();
        while !self.rebuild.is_draining()
            && let Some(operation) = self.shard.poll_operation()
        {
            self.storage.start(&mut self.ring, operation);
        }
        while let Some(id) = self.shard.poll_broken_off() {
            self.with_client(id, |client, _| client.close());
        }
        while let Some(id) = self.shard.poll_output() {
            self.with_client(id, Client::send);
        }
        while let Some((to, message)) = self.shard.poll_message() {
            self.peers.send(to, ToPeer::Message(message));
        }
        self.peers.flush();
    }

    pub(super) fn send_questions(&mut self) {
        while let Some(question) = self.unsent.pop_front() {
            if let Err(refused) = self.to_control.send(question) {
                match refused {
                    crate::runtime::mailbox::Refused::Full(question) => self.unsent.push_front(question),
                    crate::runtime::mailbox::Refused::Closed(_) => {}
                }
                return;
            }
        }
    }

    fn handle(&mut self, completion: Completion) {
        let Completion { token, last, outcome } = completion;
        match (Token::decode(token), outcome) {
            (Token::Storage(id), outcome) => {
                let completion = self.storage.handle_ring(id, outcome);
                self.shard.handle_completion(completion);
            }
            (Token::Receive(id), Outcome::Received(result)) => {
                self.with_client(id, |client, lent| match result {
                    Ok(bytes) => client.handle_received(&bytes, last, lent),
                    Err(_) => client.handle_receive_failed(lent),
                })
            }
            (Token::ReceiveLarge(id), Outcome::ReceivedInto { buffer, result }) => {
                let received_bytes = result.unwrap_or(0);
                self.with_client(id, |client, lent| client.handle_large(buffer, received_bytes, lent));
            }
            (Token::Send(id), Outcome::Sent { pieces, result }) => {
                // Cached extents are free before storage is told.
                drop(pieces);
                self.with_client(id, |client, lent| client.handle_sent(result.is_ok(), lent));
            }
            (Token::Accept(listener), Outcome::Accepted(result)) => {
                self.handle_accepted(listener, last, result)
            }
            (_, Outcome::Woken) => self.turns.wakeups += 1,
            _ => {}
        }
    }

    /// Does something with a connection, if it is still the one that the token meant.
    fn with_client(&mut self, id: ConnectionId, act: impl FnOnce(&mut Client, &mut Lent<'_>)) {
        let place = index(u64::from(id.index));
        let Some(mut client) = self.clients.get_mut(place).and_then(Option::take) else { return };
        let mut lent = Lent {
            shard: &mut self.shard,
            ring: &mut self.ring,
            frames: &mut self.frames,
            spare: &mut self.spare,
            waiting: &mut self.waiting,
            held_up: &mut self.held_up,
            now_ms: self.now_ms,
            frame_bytes_max: self.config.socket_request_max_bytes,
            stopping: self.stop_deadline_ms.is_some(),
        };
        if is_same(id, client.id) {
            act(&mut client, &mut lent);
            client.count_buffer(&mut lent);
        }
        if client.is_gone() {
            client.forget(&mut lent);
            self.client_count -= 1;
            self.together.give_place(self.life.place.number);
        } else if let Some(seat) = self.clients.get_mut(place) {
            *seat = Some(client);
        }
    }

    /// Those that wait for memory may get some now. While it is wanting, the worst of those that let it lie are closed. Returns
    /// whether there may be something to settle.
    fn relieve(&mut self) -> bool {
        let mut has_fed = false;
        for _ in 0..self.waiting.len() {
            if self.shard.memory().is_full() || self.shard.memory().lacks_room() {
                break;
            }
            let Some(id) = self.waiting.pop_front() else { break };
            self.with_client(id, Client::feed);
            has_fed = true;
        }
        let is_wanting = !self.waiting.is_empty()
            || !self.held_up.is_empty()
            || self.shard.is_pressed()
            || self.frames.keeps_others_waiting(self.now_ms);
        if !is_wanting && !self.shard.has_stalled() {
            self.next_relief_ms = i64::MAX;
        } else if self.next_relief_ms == i64::MAX {
            self.next_relief_ms = self.now_ms.saturating_add(RELIEF_INTERVAL_MS);
        } else if self.now_ms >= self.next_relief_ms {
            self.next_relief_ms = self.now_ms.saturating_add(RELIEF_INTERVAL_MS);
            if is_wanting {
                self.close_stuck();
            }
            if self.shard.has_stalled() {
                self.close_abandoned();
            }
        }
        has_fed
    }

    /// Takes the whole frames for whose replies there is room now, in turn; and where there is none, one, when the reply to the
    /// one before has been sent: so all get through some time, whatever holds the memory. Those for which there is none keep their
    /// places, and do not stop the ones behind them. Returns whether any was taken.
    fn feed_held_up(&mut self) -> bool {
        let mut has_taken = false;
        let mut without_room = Vec::new();
        for _ in 0..self.held_up.len() {
            let let_through = self.let_through.take();
            self.let_through = let_through.filter(|&(id, bytes)| self.shard.held_bytes(id) > bytes);
            let alone = self.let_through.is_none();
            if !alone && self.shard.memory().lacks_room() || without_room.len() == WITHOUT_ROOM_MAX {
                break;
            }
            let Some(id) = self.held_up.pop_front() else { break };
            let before = self.shard.held_bytes(id);
            let mut is_taken = true;
            self.with_client(id, |client, lent| is_taken = client.feed_held_up(alone, lent));
            has_taken |= is_taken;
            if alone {
                self.let_through = Some((id, before));
            } else if !is_taken {
                without_room.extend(self.held_up.pop_back());
            }
        }
        for id in without_room.into_iter().rev() {
            self.held_up.push_front(id);
        }
        has_taken
    }

    fn close_abandoned(&mut self) {
        let now_ms = self.last_turn_ms;
        let abandoned: Vec<ConnectionId> = (self.clients.iter().flatten())
            .filter(|client| client.is_abandoned(now_ms))
            .map(|client| client.id)
            .collect();
        for id in abandoned {
            self.with_client(id, |client, _| client.close());
        }
    }

    fn close_stuck(&mut self) {
        // What had come before the last turn began has been looked at; later bytes may still wait for us.
        let now_ms = self.last_turn_ms;
        let mut stuck: Vec<(u64, ConnectionId)> = self
            .clients
            .iter_mut()
            .flatten()
            .filter_map(|client| Some((client.stuck_weight(now_ms, &mut self.shard)?, client.id)))
            .collect();
        stuck.sort_unstable_by(|one, other| other.cmp(one));
        for &(_, id) in stuck.iter().take(RELIEF_COUNT) {
            self.with_client(id, |client, _| client.close());
        }
    }

    fn accept(&mut self, number: usize) {
        if let Some(listener) = self.listeners.get(number) {
            self.ring.accept(listener, Token::Accept(number).encode());
        }
    }

    fn handle_accepted(&mut self, listener: usize, last: bool, result: std::io::Result<Socket>) {
        if last && self.stop_deadline_ms.is_none() {
            self.accept_again.push((self.now_ms + ACCEPT_RETRY_MS, listener));
        }
        let Ok(socket) = result else { return };
        if self.stop_deadline_ms.is_some() {
            return;
        }
        let own = self.life.place.number;
        let (all_max, each_max) = self.client_count_max();
        match self.together.take_place(own, all_max, each_max) {
            None => {}
            Some(number) if number == own => self.take_connection(socket, listener),
            Some(other) => {
                self.peers.send(other, ToPeer::Connection { socket, listener });
                self.peers.flush();
            }
        }
    }

    /// A client that has been counted as this shard's.
    pub(super) fn take_connection(&mut self, socket: Socket, listener: usize) {
        if self.stop_deadline_ms.is_some() {
            return self.together.give_place(self.life.place.number);
        }
        let id = self.shard.open_connection(listener);
        let place = index(u64::from(id.index));
        if self.clients.len() <= place {
            self.clients.resize_with(place + 1, || None);
        }
        if let Some(seat) = self.clients.get_mut(place) {
            *seat = Some(Client::new(id, socket, self.now_ms));
            self.client_count += 1;
        }
        self.with_client(id, Client::process);
    }

    /// `max.connections`, and no more in all than open files and at each shard than its ring's operations allow beside those of the
    /// log, which must not want for any.
    fn client_count_max(&self) -> (usize, usize) {
        let files = index(self.life.open_files_for_clients());
        let operations = self.ring.operations_max() / CLIENT_OPERATIONS_SHARE;
        (index(u64::from(self.config.max_connections)).min(files), operations)
    }

    pub(super) fn handle_mail(&mut self, message: ToShard) {
        match message {
            ToShard::Image(image) => self.shard.handle_image(image),
            ToShard::Answer(answer) => self.shard.handle_answer(answer),
            ToShard::Stop => self.begin_stop(),
            ToShard::Describe { with_partitions, tell, is_asked } => {
                is_asked.store(false, Ordering::Release);
                tell(Box::new(self.describe(with_partitions)));
            }
            ToShard::BeginAnew(granted) => self.rebuild.handle_granted(granted, self.now_ms),
            ToShard::HandOver => self.rebuild.handle_hand_over(self.now_ms),
        }
    }

    /// Does what is due. Returns whether there was anything.
    fn handle_time(&mut self, now: Now) -> bool {
        let is_due = now.steady_ms >= self.shard.next_deadline_ms();
        self.shard.handle_time(now);
        let now_ms = self.now_ms;
        let due: Vec<usize> =
            self.accept_again.iter().filter(|(when, _)| *when <= now_ms).map(|&(_, number)| number).collect();
        self.accept_again.retain(|(when, _)| *when > now_ms);
        for number in due {
            self.accept(number);
        }
        let checks_idle = now_ms >= self.next_idle_check_ms;
        if checks_idle {
            self.close_idle();
        }
        is_due || checks_idle
    }

    /// Closes connections on which nothing has happened for `connections.max.idle.ms`.
    fn close_idle(&mut self) {
        let Some(idle_ms) = self.config.connections_max_idle_ms else {
            self.next_idle_check_ms = i64::MAX;
            return;
        };
        let idle_ms = i64::try_from(idle_ms).unwrap_or(i64::MAX);
        self.next_idle_check_ms = self.now_ms.saturating_add((idle_ms / 10).clamp(10, 60_000));
        // What had come before the last turn began has been looked at; later bytes may still wait for us.
        let now_ms = self.now_ms;
        let since_ms = self.last_turn_ms.saturating_sub(idle_ms);
        let idle: Vec<ConnectionId> = self
            .clients
            .iter()
            .flatten()
            .filter(|client| client.is_idle_since(since_ms, now_ms, &mut self.shard))
            .map(|client| client.id)
            .collect();
        for id in idle {
            self.with_client(id, |client, _| client.close());
        }
    }

    /// Disconnects everybody.
    pub(super) fn close_clients(&mut self) {
        let ids: Vec<ConnectionId> = self.clients.iter().flatten().map(|client| client.id).collect();
        for id in ids {
            self.with_client(id, |client, _| client.close());
        }
    }

    /// Stops taking requests; what is in flight is finished.
    fn begin_stop(&mut self) {
        if self.stop_deadline_ms.is_none() {
            self.stop_deadline_ms = Some(self.now_ms.saturating_add(STOP_MS_MAX));
            self.shard.begin_stop();
        }
    }

    /// Takes the steps of a stop that are due: none is taken back.
    fn proceed_stop(&mut self, deadline_ms: i64, replies_are_over: bool) {
        if self.stop_step == StopStep::Finishing && self.shard.is_quiet() {
            self.stop_step = StopStep::Quiet;
            self.together.note_quiet();
        }
        let must_close = self.now_ms >= deadline_ms.saturating_sub(STOP_CLOSE_MS);
        if self.stop_step < StopStep::Closing && (self.together.are_all_quiet() || must_close) {
            self.stop_step = StopStep::Closing;
            self.shard.begin_close();
            self.settle();
        }
        if self.stop_step == StopStep::Closing && self.shard.is_at_rest() && replies_are_over {
            self.stop_step = StopStep::Resting;
            self.together.note_resting();
        }
    }

    /// Whether a stop has come to its end.
    fn poll_stopped(&mut self) -> Option<Stopped> {
        let deadline_ms = self.stop_deadline_ms?;
        let replies_are_over = self.now_ms >= deadline_ms.saturating_sub(STOP_REPLIES_MS)
            || !self.clients.iter().flatten().any(Client::is_sending);
        if self.rebuild.is_draining() && replies_are_over {
            // The next start recovers.
            return Some(Stopped { clean: None });
        }
        self.proceed_stop(deadline_ms, replies_are_over);
        if self.stop_step == StopStep::Resting && self.together.are_all_resting() {
            let clean = self.shard.describe_clean();
            return Some(Stopped { clean });
        }
        (self.now_ms >= deadline_ms).then_some(Stopped { clean: None })
    }

    fn wait(&mut self) -> Result<(), Error> {
        if self.config.shard_idle == ShardIdle::Spin {
            return Ok(self.ring.submit()?);
        }
        let accept = self.accept_again.iter().map(|&(when, _)| when).min().unwrap_or(i64::MAX);
        let idle = if self.client_count > 0 { self.next_idle_check_ms } else { i64::MAX };
        let stop = self.stop_deadline_ms.map_or(i64::MAX, |_| self.now_ms.saturating_add(20));
        let unsent = if self.unsent.is_empty() { i64::MAX } else { self.now_ms.saturating_add(5) };
        let waits_for_others = !self.waiting.is_empty() && self.life.place.count > 1;
        // Nothing else tells who has the lone buffer that somebody wants it.
        let may_be_wanted = self.frames.holds_lone() && self.life.place.count > 1;
        let lone = match (waits_for_others, may_be_wanted) {
            (true, _) => self.now_ms.saturating_add(LONE_LOOK_MS),
            (false, true) => self.now_ms.saturating_add(RELIEF_INTERVAL_MS),
            (false, false) => i64::MAX,
        };
        let rebuild = self.rebuild.next_deadline_ms(self.shard.must_begin_anew());
        let deadline = self
            .shard
            .next_deadline_ms()
            .min(accept)
            .min(idle)
            .min(stop)
            .min(unsent)
            .min(rebuild)
            .min(lone)
            .min(self.next_relief_ms);
        let timeout = (deadline != i64::MAX).then(|| {
            let wait_ms = deadline.saturating_sub(self.now_ms).clamp(0, 3_600_000);
            Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
        });
        Ok(self.ring.submit_and_wait(timeout)?)
    }
}

/// Both clocks, at this time of the steady one.
pub(super) fn clocks_at(now_us: u64) -> Now {
    let steady_ms = i64::try_from(now_us / 1_000).unwrap_or(i64::MAX);
    Now { steady_ms, wall_ms: SystemClock.wall_ms() }
}
