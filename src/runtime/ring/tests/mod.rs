//! Claims of the ring, on a real one: loopback connections, real files, the real kernel.

mod disk;
mod net;
mod turns;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use super::*;

fn small() -> RingOptions {
    RingOptions { entries: 64, provided_buffers: 8, provided_buffer_bytes: 4096, ..RingOptions::default() }
}

fn ring() -> Ring {
    Ring::new(small()).unwrap()
}

/// The next completion, which must come within ten seconds.
fn next(ring: &mut Ring) -> Completion {
    for _ in 0..100 {
        if let Some(completion) = ring.next_completion() {
            return completion;
        }
        ring.submit_and_wait(Some(Duration::from_millis(100))).unwrap();
    }
    panic!("no completion; {} operations in flight", ring.in_flight());
}

/// Nothing completes within `milliseconds`.
fn nothing_for(ring: &mut Ring, milliseconds: u64) {
    ring.submit_and_wait(Some(Duration::from_millis(milliseconds))).unwrap();
    let found = ring.next_completion();
    assert!(found.is_none(), "{found:?}");
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A connection accepted by `ring`, and its other end.
fn connect(ring: &mut Ring) -> (Rc<Socket>, TcpStream) {
    let listener = Rc::new(Listener::bind(loopback(), 16).unwrap());
    let accept = ring.accept(&listener, 999);
    let client = TcpStream::connect(listener.address()).unwrap();
    let socket = match next(ring) {
        Completion { token: 999, last: false, outcome: Outcome::Accepted(Ok(socket)) } => Rc::new(socket),
        other => panic!("{other:?}"),
    };
    ring.cancel(accept);
    let end = next(ring);
    assert!(
        matches!(end, Completion { token: 999, last: true, outcome: Outcome::Accepted(Err(_)) }),
        "{end:?}"
    );
    (socket, client)
}

/// Bytes that differ at every position of a block and from block to block.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index * 31 + index / 251 + seed) % 256).unwrap()).collect()
}

fn aligned(bytes: &[u8]) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::with_capacity(bytes.len());
    buffer.extend_from_slice(bytes);
    buffer
}

/// A path in the directory for temporary files that no other test uses; removed on drop.
struct Place(PathBuf);

impl Place {
    fn new(directory: &str, name: &str) -> Self {
        Self(PathBuf::from(format!("{directory}/ringlog-ring-{}-{name}", std::process::id())))
    }

    fn on_disk(name: &str) -> Self {
        Self::new(std::env::temp_dir().to_str().unwrap(), name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
