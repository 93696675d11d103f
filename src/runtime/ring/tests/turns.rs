//! Queues, sleeping, waking and ending.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::*;
use crate::runtime::memory::{Account, BufferPool};

#[test]
fn a_timeout_ends_the_wait() {
    let mut ring = ring();
    let begin = Instant::now();
    ring.submit_and_wait(Some(Duration::from_millis(30))).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert!(ring.next_completion().is_none());
}

#[test]
fn a_wake_up_ends_the_wait_and_many_are_one() {
    let mut ring = ring();
    let waker = ring.waker();
    let sleeper = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        for _ in 0..10 {
            waker.wake();
        }
    });
    ring.submit_and_wait(None).unwrap();
    sleeper.join().unwrap();
    let woken = next(&mut ring);
    assert!(matches!(woken, Completion { token: WAKE, outcome: Outcome::Woken, .. }), "{woken:?}");
    let mut again = 0;
    while ring.next_completion().is_some() || {
        ring.submit().unwrap();
        ring.next_completion().is_some()
    } {
        again += 1;
    }
    assert!(again <= 1, "{again} more: at most one for those that came while we were waking");
    ring.waker().wake();
    ring.submit_and_wait(None).expect("a notice taken before sleeping prevents the sleep");
    assert!(matches!(ring.next_completion().unwrap().outcome, Outcome::Woken));
    ring.waker().wake();
    ring.submit().unwrap();
    assert!(matches!(ring.next_completion().unwrap().outcome, Outcome::Woken), "spinning sees it as well");
}

/// Whatever the interleaving of sending, going to sleep and waking: no number waits for the next one.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 20_000;
    let mut ring = ring();
    let waker = ring.waker();
    let (sent, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sender = {
        let (sent, seen) = (Arc::clone(&sent), Arc::clone(&seen));
        thread::spawn(move || {
            for round in 1..=ROUNDS {
                sent.store(round, Ordering::Relaxed);
                waker.wake();
                if round % 3 == 0 {
                    while seen.load(Ordering::Relaxed) < round {
                        thread::yield_now();
                    }
                }
            }
        })
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen.load(Ordering::Relaxed) < ROUNDS {
        ring.submit_and_wait(Some(Duration::from_secs(20))).unwrap();
        while let Some(completion) = ring.next_completion() {
            assert!(matches!(completion.outcome, Outcome::Woken));
            seen.store(sent.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        assert!(Instant::now() < deadline, "stuck at {seen:?} of {sent:?}");
    }
    sender.join().unwrap();
}

#[test]
fn more_operations_than_the_queue_holds_wait_and_are_not_lost() {
    let mut ring = Ring::new(RingOptions { entries: 4, ..small() }).unwrap();
    let (socket, mut client) = connect(&mut ring);
    let listener = Rc::new(Listener::bind(loopback(), 16).unwrap());
    let waiting: Vec<_> = (0..50).map(|token| ring.accept(&listener, token)).collect();
    ring.receive(&socket, 50);
    client.write_all(b"through").unwrap();
    let first = next(&mut ring);
    assert!(matches!(&first.outcome, Outcome::Received(Ok(bytes)) if &**bytes == b"through"), "{first:?}");
    assert_eq!(ring.in_flight(), 50);
    waiting.iter().for_each(|operation| ring.cancel(*operation));
    let mut tokens: Vec<_> = (0..50).map(|_| next(&mut ring).token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..50).collect::<Vec<_>>());
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn completions_that_overflow_the_kernels_queue_are_not_lost() {
    let mut ring = Ring::new(RingOptions { entries: 4, ..small() }).unwrap();
    let file = FileHandle::open(
        std::path::Path::new("/dev/zero"),
        crate::runtime::file::Access::Read,
        crate::runtime::file::Caching::Buffered,
    );
    let file = Rc::new(file.unwrap());
    for token in 0..200 {
        ring.read(&file, AlignedBuffer::with_capacity(4096), 4096, 0, token);
        ring.submit().unwrap();
    }
    let mut tokens: Vec<_> = (0..200).map(|_| next(&mut ring).token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, (0..200).collect::<Vec<_>>());
}

#[test]
fn an_operation_too_many_fails_and_gives_back_what_it_was_lent() {
    let mut ring = Ring::new(RingOptions { operations_max: 1, ..small() }).unwrap();
    let (socket, _client) = connect(&mut ring);
    assert_eq!(ring.room(), 1);
    ring.receive(&socket, 1);
    assert_eq!(ring.room(), 0);
    ring.send(&socket, vec![SendPiece::Owned(vec![1])], 2);
    match next(&mut ring) {
        Completion { token: 2, last: true, outcome: Outcome::Sent { pieces, result: Err(error) } } => {
            assert_eq!((pieces.len(), error.raw_os_error()), (1, Some(libc::EBUSY)));
        }
        other => panic!("{other:?}"),
    }
}

/// The kernel holds a reference to each socket in use: when the peers see the end, everything was let go of, and
/// what they send afterwards cannot reach the buffers that were freed.
#[test]
fn a_dropped_ring_ends_what_is_in_flight() {
    let mut ring = ring();
    let listener = Rc::new(Listener::bind(loopback(), 16).unwrap());
    ring.accept(&listener, 0);
    let mut clients = Vec::new();
    let mut pool = BufferPool::new(Account::default(), 0);
    for round in 0..4 {
        let (socket, mut client) = connect(&mut ring);
        match round {
            0 => ring.receive(&socket, 1),
            1 => ring.receive_multishot(&socket, 2),
            2 => {
                let mut buffer = pool.take(1 << 20, 1 << 20).unwrap();
                buffer.set_len(1 << 20);
                client.write_all(&[1; 1000]).unwrap();
                ring.receive_into(&socket, buffer, 0, 3)
            }
            _ => ring.send(&socket, vec![SendPiece::Owned(vec![2; 64 << 20])], 4),
        };
        clients.push(client);
    }
    nothing_for(&mut ring, 10);
    let (unsubmitted, client) = connect(&mut ring);
    ring.receive(&unsubmitted, 5);
    drop(unsubmitted);
    clients.push(client);
    let begin = Instant::now();
    drop(ring);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut rest = Vec::new();
        match client.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(Rc::strong_count(&listener), 1);
    assert_eq!(pool.account_bytes(), 0, "the kernel let go of the buffer in time: it is freed, not given up");
}

#[test]
fn received_bytes_outlive_their_ring() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    ring.receive(&socket, 1);
    client.write_all(b"kept").unwrap();
    let Completion { outcome: Outcome::Received(Ok(bytes)), .. } = next(&mut ring) else { panic!() };
    drop(ring);
    assert_eq!(&*bytes, b"kept");
}

#[test]
fn counts_that_the_kernel_would_refuse_are_refused_by_name() {
    let refused = Ring::new(RingOptions { provided_buffers: 100, ..small() });
    assert!(matches!(refused, Err(Error::BadCount { what: "provided buffers", count: 100 })));
    let refused = Ring::new(RingOptions { entries: 0, ..small() });
    assert!(matches!(refused, Err(Error::RingRefused { .. })));
}

#[test]
fn worker_threads_of_the_kernel_stay_off_the_shards_processor() {
    let cpu = thread::spawn(|| thread_cpus()[0]).join().unwrap();
    Ring::new(RingOptions { cpu: Some(cpu), ..small() }).unwrap();
}

fn thread_cpus() -> Vec<Cpu> {
    crate::runtime::thread::allowed_cpus().unwrap()
}
