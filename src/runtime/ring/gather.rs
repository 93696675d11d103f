//! The list of memory ranges that one send or write takes its bytes from, and how far it has got.
//!
//! Boxed by the operation, so that the kernel's view of it (header and vectors) does not move while in flight.

use std::ptr::NonNull;

/// The kernel takes this many vectors at once (`UIO_MAXIOV`); the rest follows in a continuation.
const VECTORS_MAX: usize = 1024;

/// The kernel moves at most this many bytes at once (`MAX_RW_COUNT`).
const BYTES_MAX: usize = 0x7fff_f000;

pub(super) struct Gather {
    header: libc::msghdr,
    vectors: Vec<libc::iovec>,
    /// Index of the first vector that is not done; it may have been shortened by what is.
    first: usize,
    total: usize,
    done: usize,
}

/// What remains to be sent, as the kernel wants it.
pub(super) enum Window {
    One { start: *const u8, len: u32 },
    Many { header: *const libc::msghdr, vectors: *const libc::iovec, count: u32 },
}

impl Gather {
    pub(super) fn new() -> Box<Self> {
        let header = libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: std::ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self { header, vectors: Vec::new(), first: 0, total: 0, done: 0 })
    }

    pub(super) fn clear(&mut self) {
        self.vectors.clear();
        (self.first, self.total, self.done) = (0, 0, 0);
    }

    /// Adds a range; an empty one is left out.
    pub(super) fn push(&mut self, start: NonNull<u8>, len: usize) {
        if len > 0 {
            self.vectors.push(libc::iovec { iov_base: start.as_ptr().cast(), iov_len: len });
            self.total += len;
        }
    }

    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }

    pub(super) fn is_done(&self) -> bool {
        self.done == self.total
    }

    /// Counts `bytes` as done.
    pub(super) fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.total - self.done, "the kernel moved more bytes than it was given");
        self.done += bytes;
        let mut left = bytes;
        while let Some(vector) = self.vectors.get_mut(self.first) {
            if left < vector.iov_len {
                vector.iov_base = vector.iov_base.wrapping_byte_add(left);
                vector.iov_len -= left;
                return;
            }
            left -= vector.iov_len;
            self.first += 1;
        }
    }

    /// What the next operation moves. The pointers stay valid until `self` is changed or dropped.
    pub(super) fn window(&mut self) -> Window {
        let rest = self.vectors.get_mut(self.first..).unwrap_or_default();
        if let [one] = rest {
            let len = u32::try_from(one.iov_len.min(BYTES_MAX)).unwrap_or(0);
            return Window::One { start: one.iov_base.cast(), len };
        }
        let count = rest.len().min(VECTORS_MAX);
        self.header.msg_iov = rest.as_mut_ptr();
        self.header.msg_iovlen = count;
        let count = u32::try_from(count).unwrap_or(0);
        Window::Many { header: &raw const self.header, vectors: rest.as_ptr(), count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gathers ranges of one array and checks, byte count by byte count, that what remains is the right tail.
    #[test]
    fn advancing_leaves_exactly_the_tail() {
        let bytes: Vec<u8> = (0..100).collect();
        let start = NonNull::new(bytes.as_ptr().cast_mut()).unwrap();
        for step in 1..=100 {
            let mut gather = Gather::new();
            for (from, len) in [(0, 1), (1, 30), (31, 0), (31, 19), (50, 50)] {
                gather.push(start.map_addr(|at| at.checked_add(from).unwrap()), len);
            }
            assert_eq!(gather.total(), 100);
            while !gather.is_done() {
                let done = gather.done();
                let (at, len) = match gather.window() {
                    Window::One { start, len } => (start.addr(), len as usize),
                    Window::Many { vectors, count, .. } => {
                        assert_eq!(gather.header.msg_iovlen, count as usize);
                        let rest = &gather.vectors[gather.first..];
                        assert_eq!(vectors, rest.as_ptr());
                        (rest[0].iov_base.addr(), rest.iter().map(|vector| vector.iov_len).sum())
                    }
                };
                assert_eq!((at, len), (start.as_ptr().addr() + done, 100 - done));
                gather.advance(step.min(100 - done));
            }
        }
    }

    #[test]
    fn more_vectors_than_the_kernel_takes_are_cut() {
        let byte = 0_u8;
        let mut gather = Gather::new();
        for _ in 0..VECTORS_MAX + 5 {
            gather.push(NonNull::from(&byte), 1);
        }
        assert!(matches!(gather.window(), Window::Many { count: 1024, .. }));
        gather.advance(VECTORS_MAX);
        assert!(matches!(gather.window(), Window::Many { count: 5, .. }));
    }

    #[test]
    #[should_panic(expected = "more bytes than it was given")]
    fn a_kernel_that_moves_too_much_is_not_believed() {
        let byte = 0_u8;
        let mut gather = Gather::new();
        gather.push(NonNull::from(&byte), 1);
        gather.advance(2);
    }
}
