//! From an operation to the kernel's entry, and from the kernel's answer to a completion or a continuation.

#![expect(unsafe_code, reason = "adopts descriptors that the kernel opened")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use io_uring::{cqueue, opcode, squeue, types};

use crate::model::limits::BLOCK_BYTES;
use crate::runtime::net::Socket;
use crate::runtime::ring::gather::Window;
use crate::runtime::ring::operation::{Kind, Operation};
use crate::runtime::ring::{Completion, OperationId, Outcome, Received, Ring, provided};

/// `IORING_RECVSEND_POLL_FIRST`: wait for bytes before the first attempt.
const POLL_FIRST: u16 = 1;

/// What an answer means for its operation.
enum Step {
    /// More answers follow.
    Wait,
    /// Its own entry is to be handed over again.
    Again,
    /// It needs a provided buffer.
    Starve,
    /// It is over.
    Finish(io::Result<usize>, Option<Received>),
}

/// One answer of the kernel, taken apart.
struct Answer {
    result: io::Result<usize>,
    more: bool,
    received: Option<Received>,
    socket_nonempty: bool,
}

impl Ring {
    /// Takes one entry of the completion queue.
    pub(super) fn complete(&mut self, entry: &cqueue::Entry) {
        let id = OperationId(entry.user_data());
        let answer = self.answer(entry);
        let Some(operation) = self.operations.get_mut(id) else {
            // A cancellation's own answer.
            debug_assert!(id == OperationId::NONE, "an answer to an operation that is over");
            return;
        };
        let (outcome, step) = operation.step(answer);
        let (token, cancelled) = (operation.token, operation.cancelled);
        if let Some(outcome) = outcome {
            self.ready.push_back(Completion { token, last: false, outcome });
        }
        match step {
            Step::Wait => {}
            Step::Again | Step::Starve if cancelled => {
                self.finish(id, Err(io::Error::from_raw_os_error(libc::ECANCELED)), None);
            }
            Step::Again => self.hand_over(id),
            Step::Starve => self.starve(id),
            Step::Finish(result, received) => self.finish(id, result, received),
        }
    }

    /// Ends an operation and delivers what it was lent.
    pub(super) fn finish(&mut self, id: OperationId, result: io::Result<usize>, received: Option<Received>) {
        if let Some(operation) = self.operations.remove(id) {
            self.deliver(operation, result, received);
        }
    }

    /// Queues the last completion of an operation that is in no table any more.
    pub(super) fn deliver(
        &mut self,
        operation: Operation,
        result: io::Result<usize>,
        received: Option<Received>,
    ) {
        let outcome = match operation.kind {
            Kind::Wake { .. } => {
                self.deaf = true;
                return;
            }
            Kind::Accept { .. } => match result {
                Err(error) => Outcome::Accepted(Err(error)),
                Ok(_) => return,
            },
            Kind::Receive { .. } => Outcome::Received(result.map(|_| received.unwrap_or_else(Received::end))),
            Kind::ReceiveInto { buffer, .. } => Outcome::ReceivedInto { buffer, result },
            Kind::Send { socket, pieces, gather } => {
                socket.sending().set(false);
                self.keep_gather(gather);
                Outcome::Sent { pieces, result }
            }
            Kind::Write { pieces, gather, .. } => {
                self.keep_gather(gather);
                Outcome::Written { pieces, result }
            }
            Kind::Read { mut buffer, .. } => {
                buffer.set_len(result.as_ref().map_or(0, |bytes| *bytes));
                Outcome::Read { buffer, result }
            }
            Kind::Sync { .. } => Outcome::Synced(result.map(|_| ())),
        };
        self.ready.push_back(Completion { token: operation.token, last: true, outcome });
    }

    fn starve(&mut self, id: OperationId) {
        if let Some(operation) = self.operations.get_mut(id) {
            operation.starved = true;
            self.starved.push_back(id);
        }
    }

    fn answer(&self, entry: &cqueue::Entry) -> Answer {
        let flags = entry.flags();
        let result = match usize::try_from(entry.result()) {
            Ok(count) => Ok(count),
            Err(_) => Err(io::Error::from_raw_os_error(entry.result().saturating_neg())),
        };
        let len = result.as_ref().map_or(0, |count| *count);
        let received = cqueue::buffer_select(flags).and_then(|buffer| self.provided.received(buffer, len));
        Answer { result, more: cqueue::more(flags), received, socket_nonempty: cqueue::sock_nonempty(flags) }
    }
}

impl Operation {
    fn step(&mut self, answer: Answer) -> (Option<Outcome>, Step) {
        let code = answer.result.as_ref().err().and_then(io::Error::raw_os_error);
        if code == Some(libc::EINTR) {
            return (None, Step::Again);
        }
        match &mut self.kind {
            Kind::Accept { .. } => accepted(answer, code),
            Kind::Receive { socket, multishot } => {
                socket.drained().set(!answer.socket_nonempty);
                received(answer, code, *multishot)
            }
            kind => (None, kind.step_once(answer.result)),
        }
    }
}

/// Errors that concern one connection only, or none: accepting goes on.
fn accepted(answer: Answer, code: Option<i32>) -> (Option<Outcome>, Step) {
    let go_on = if answer.more { Step::Wait } else { Step::Again };
    match answer.result {
        Ok(descriptor) => (adopt(descriptor).map(|socket| Outcome::Accepted(Ok(socket))), go_on),
        Err(_) if matches!(code, Some(libc::ECONNABORTED | libc::EPROTO | libc::EAGAIN)) => (None, go_on),
        Err(error) => (None, Step::Finish(Err(error), None)),
    }
}

fn received(answer: Answer, code: Option<i32>, multishot: bool) -> (Option<Outcome>, Step) {
    match answer.result {
        Err(_) if code == Some(libc::ENOBUFS) => (None, Step::Starve),
        Ok(count) if count > 0 && answer.received.is_none() => {
            (None, Step::Finish(Err(io::Error::from_raw_os_error(libc::EIO)), None))
        }
        Ok(count) if count > 0 && multishot => {
            let go_on = if answer.more { Step::Wait } else { Step::Again };
            (answer.received.map(|received| Outcome::Received(Ok(received))), go_on)
        }
        Ok(0) => (None, Step::Finish(Ok(0), None)),
        result => (None, Step::Finish(result, answer.received)),
    }
}

impl Kind {
    /// The meaning of an answer to an operation that is answered once per entry.
    fn step_once(&mut self, result: io::Result<usize>) -> Step {
        let count = match result {
            Ok(count) => count,
            Err(error) => return Step::Finish(Err(error), None),
        };
        match self {
            Kind::Wake { .. } => Step::Again,
            Kind::ReceiveInto { buffer, from, received, .. } => {
                *received += count;
                let filled = *from + *received == buffer.len();
                if filled || count == 0 { Step::Finish(Ok(*received), None) } else { Step::Again }
            }
            Kind::Send { gather, .. } | Kind::Write { gather, .. } => {
                gather.advance(count);
                if gather.is_done() {
                    Step::Finish(Ok(gather.total()), None)
                } else if count == 0 {
                    Step::Finish(Err(io::Error::from(io::ErrorKind::WriteZero)), None)
                } else {
                    Step::Again
                }
            }
            Kind::Read { file, len, done, .. } => {
                *done += count;
                // A direct read stops in the middle of a block only at the end of the file.
                let at_end = count == 0 || (file.is_direct() && !count.is_multiple_of(BLOCK_BYTES));
                if at_end || *done == *len { Step::Finish(Ok(*done), None) } else { Step::Again }
            }
            Kind::Sync { .. } | Kind::Accept { .. } | Kind::Receive { .. } => Step::Finish(Ok(count), None),
        }
    }

    /// The kernel's entry for what remains to be done.
    pub(super) fn entry(&mut self) -> squeue::Entry {
        match self {
            Kind::Wake { event, count } => {
                opcode::Read::new(types::Fd(*event), count.as_mut_ptr(), 8).build()
            }
            Kind::Accept { listener } => {
                opcode::AcceptMulti::new(types::Fd(listener.descriptor())).flags(libc::SOCK_CLOEXEC).build()
            }
            Kind::Receive { socket, multishot: true } => {
                opcode::RecvMulti::new(types::Fd(socket.descriptor()), provided::GROUP).build()
            }
            Kind::Receive { socket, multishot: false } => {
                let priority = if socket.drained().get() { POLL_FIRST } else { 0 };
                opcode::Recv::new(types::Fd(socket.descriptor()), std::ptr::null_mut(), 0)
                    .buf_group(provided::GROUP)
                    .ioprio(priority)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            }
            Kind::ReceiveInto { socket, buffer, from, received } => {
                let position = *from + *received;
                let len = buffer.len() - position;
                let start = buffer.range(position, len).as_ptr();
                opcode::Recv::new(types::Fd(socket.descriptor()), start, length(len))
                    .flags(libc::MSG_WAITALL)
                    .build()
            }
            Kind::Send { socket, gather, .. } => send_entry(socket, gather.window()),
            Kind::Write { file, gather, position, durable, .. } => {
                let at = *position + gather.done() as u64;
                let flags = if *durable { libc::RWF_DSYNC } else { 0 };
                let file = types::Fd(file.descriptor());
                match gather.window() {
                    Window::One { start, len } => {
                        opcode::Write::new(file, start, len).offset(at).rw_flags(flags).build()
                    }
                    Window::Many { vectors, count, .. } => {
                        opcode::Writev::new(file, vectors, count).offset(at).rw_flags(flags).build()
                    }
                }
            }
            Kind::Read { file, buffer, len, done, position } => {
                let rest = *len - *done;
                let start = buffer.range(*done, rest).as_ptr();
                opcode::Read::new(types::Fd(file.descriptor()), start, length(rest))
                    .offset(*position + *done as u64)
                    .build()
            }
            Kind::Sync { file } => {
                opcode::Fsync::new(types::Fd(file.descriptor())).flags(types::FsyncFlags::DATASYNC).build()
            }
        }
    }
}

fn send_entry(socket: &Socket, window: Window) -> squeue::Entry {
    let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    let descriptor = types::Fd(socket.descriptor());
    match window {
        Window::One { start, len } => opcode::Send::new(descriptor, start, len).flags(flags).build(),
        Window::Many { header, .. } => {
            opcode::SendMsg::new(descriptor, header).flags(flags.unsigned_abs()).build()
        }
    }
}

/// A length for the kernel; what exceeds it is done by a continuation. A multiple of the block.
fn length(len: usize) -> u32 {
    const LENGTH_MAX: u32 = 1 << 30;
    u32::try_from(len).map_or(LENGTH_MAX, |len| len.min(LENGTH_MAX))
}

/// The connection that an accept has opened.
pub(super) fn adopt(descriptor: usize) -> Option<Socket> {
    let descriptor = RawFd::try_from(descriptor).ok()?;
    // SAFETY: the answer to an accept is a descriptor that was just opened, reported once, owned by nobody else.
    Some(Socket::from(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}
