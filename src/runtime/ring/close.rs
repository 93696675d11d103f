//! The end of a ring: nothing is freed that the kernel might still write to.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};

use crate::runtime::ring::complete::adopt;
use crate::runtime::ring::operation::Operations;
use crate::runtime::ring::{Kind, OperationId, Ring, provided};

/// How long the kernel is given to let go of everything; a disk that does not answer may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the cancellation is repeated meanwhile: what was only being started escapes the first one.
const ROUND: Duration = Duration::from_millis(50);

impl Drop for Ring {
    fn drop(&mut self) {
        self.forget_what_was_not_handed_over();
        let deadline = Instant::now() + PATIENCE;
        while self.operations.len() > 0 && Instant::now() < deadline && self.cancel_round().is_ok() {}
        if self.operations.len() > 0 || self.ring.submitter().unregister_buf_ring(provided::GROUP).is_err() {
            // The kernel may still use the memory: it is given up, not freed.
            std::mem::forget(std::mem::replace(&mut self.operations, Operations::new(0)));
            std::mem::forget(Rc::clone(&self.provided));
            std::mem::forget(std::mem::take(&mut self.arenas));
        }
    }
}

impl Ring {
    fn forget_what_was_not_handed_over(&mut self) {
        for entry in self.overflow.drain(..) {
            self.operations.remove(OperationId(entry.get_user_data()));
        }
        for id in self.starved.drain(..) {
            self.operations.remove(id);
        }
    }

    fn cancel_round(&mut self) -> io::Result<()> {
        let everything = types::CancelBuilder::any().all();
        let entry = opcode::AsyncCancel2::new(everything).build().user_data(OperationId::NONE.0);
        self.push(entry);
        self.fill_queue();
        let timeout = types::Timespec::from(ROUND);
        let outcome = self.ring.submitter().submit_with_args(1, &types::SubmitArgs::new().timespec(&timeout));
        loop {
            let Some(entry) = self.ring.completion().next() else { break };
            self.take_last(&entry);
        }
        match outcome.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn take_last(&mut self, entry: &cqueue::Entry) {
        let id = OperationId(entry.user_data());
        if let Some(operation) = self.operations.get_mut(id)
            && matches!(operation.kind, Kind::Accept { .. })
            && let Ok(descriptor) = usize::try_from(entry.result())
        {
            drop(adopt(descriptor));
        }
        if !cqueue::more(entry.flags()) {
            self.operations.remove(id);
        }
    }
}
