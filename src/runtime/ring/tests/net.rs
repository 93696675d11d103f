//! Sending and receiving.

use std::io::{Read, Write};
use std::thread;

use super::*;
use crate::runtime::memory::{Arena, ArenaMemory};

fn sent(completion: Completion) -> (Vec<SendPiece>, io::Result<usize>) {
    match completion {
        Completion { last: true, outcome: Outcome::Sent { pieces, result }, .. } => (pieces, result),
        other => panic!("{other:?}"),
    }
}

fn received(completion: Completion) -> (Token, bool, Received) {
    match completion {
        Completion { token, last, outcome: Outcome::Received(Ok(received)) } => (token, last, received),
        other => panic!("{other:?}"),
    }
}

fn owned(bytes: &[u8]) -> Vec<SendPiece> {
    vec![SendPiece::Owned(bytes.to_vec())]
}

#[test]
fn an_echo_goes_round_and_the_end_is_an_empty_receive() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    assert_eq!(socket.peer().unwrap(), client.local_addr().unwrap());
    for round in 0..100 {
        let request = pattern(1 + round * 37, round);
        ring.receive(&socket, 1);
        client.write_all(&request).unwrap();
        let (token, last, bytes) = received(next(&mut ring));
        assert_eq!((token, last, &*bytes), (1, true, request.as_slice()));
        ring.send(&socket, owned(&bytes), 2);
        drop(bytes);
        let (pieces, result) = sent(next(&mut ring));
        assert_eq!((pieces.len(), result.unwrap()), (1, request.len()));
        let mut reply = vec![0; request.len()];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply, request);
    }
    ring.receive(&socket, 3);
    drop(client);
    let (token, last, bytes) = received(next(&mut ring));
    assert_eq!((token, last, bytes.len()), (3, true, 0));
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn one_accept_takes_many_connections() {
    let mut ring = ring();
    let listener = Rc::new(Listener::bind(loopback(), 64).unwrap());
    ring.accept(&listener, 7);
    let clients: Vec<_> = (0..40).map(|_| TcpStream::connect(listener.address()).unwrap()).collect();
    let mut peers: Vec<_> = (0..40)
        .map(|_| match next(&mut ring) {
            Completion { token: 7, last: false, outcome: Outcome::Accepted(Ok(socket)) } => {
                socket.peer().unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    peers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(peers, expected);
}

#[test]
fn a_multishot_receive_starves_without_buffers_and_goes_on_when_they_return() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    ring.receive_multishot(&socket, 1);
    ring.submit().unwrap();
    let all = pattern(40 * 4096, 5);
    let writer = {
        let all = all.clone();
        thread::spawn(move || {
            client.write_all(&all).unwrap();
        })
    };
    let mut seen = Vec::new();
    let mut held = Vec::new();
    loop {
        match ring.next_completion() {
            Some(completion) => {
                let (token, last, bytes) = received(completion);
                assert_eq!(token, 1);
                seen.extend_from_slice(&bytes);
                if last {
                    break;
                }
                held.push(bytes);
            }
            None if held.len() == 8 => {
                nothing_for(&mut ring, 20);
                held.clear();
            }
            None => ring.submit_and_wait(Some(Duration::from_millis(100))).unwrap(),
        }
    }
    writer.join().unwrap();
    assert!(seen == all, "{} of {} bytes", seen.len(), all.len());
}

#[test]
fn a_starved_receive_can_be_cancelled() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let operation = ring.receive_multishot(&socket, 1);
    client.write_all(&pattern(16 * 4096, 0)).unwrap();
    let mut held: Vec<_> = (0..8).map(|_| received(next(&mut ring)).2).collect();
    nothing_for(&mut ring, 20);
    ring.cancel(operation);
    let end = next(&mut ring);
    assert!(end.last && matches!(&end.outcome, Outcome::Received(Err(_))), "{end:?}");
    held.clear();
    nothing_for(&mut ring, 20);
    assert_eq!(ring.in_flight(), 0);
}

#[test]
fn a_frame_is_received_into_its_buffer_however_the_sender_splits_it() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let frame = pattern(1 << 20, 9);
    let mut buffer = AlignedBuffer::with_capacity(frame.len());
    buffer.set_len(frame.len());
    buffer.as_mut_slice()[..100].copy_from_slice(&frame[..100]);
    ring.receive_into(&socket, buffer, 100, 4);
    let rest = frame[100..].to_vec();
    let sender = thread::spawn(move || {
        for (index, part) in rest.chunks(70_001).enumerate() {
            client.write_all(part).unwrap();
            if index % 4 == 0 {
                thread::sleep(Duration::from_millis(5));
            }
        }
        client
    });
    match next(&mut ring) {
        Completion { token: 4, last: true, outcome: Outcome::ReceivedInto { buffer, result } } => {
            assert_eq!(result.unwrap(), frame.len() - 100);
            assert!(buffer.as_slice() == frame);
        }
        other => panic!("{other:?}"),
    }
    let mut client = sender.join().unwrap();
    let mut buffer = AlignedBuffer::with_capacity(1000);
    buffer.set_len(1000);
    ring.receive_into(&socket, buffer, 0, 5);
    client.write_all(b"half").unwrap();
    drop(client);
    match next(&mut ring) {
        Completion { token: 5, outcome: Outcome::ReceivedInto { buffer, result }, .. } => {
            assert_eq!((result.unwrap(), &buffer.as_slice()[..4]), (4, &b"half"[..]));
        }
        other => panic!("{other:?}"),
    }
}

/// Ten megabytes in more pieces than one call of the kernel takes, out of all three kinds of memory.
#[test]
fn a_gathered_send_reaches_a_slow_reader_whole() {
    let place = Place::new("/dev/shm", "send");
    let (mut arena, _) = Arena::open(&place.0, 1 << 20).unwrap();
    arena.write(0, &pattern(1 << 20, 77));
    let shared = Arc::new(aligned(&pattern(1 << 20, 55)));
    let mut ring = ring();
    ring.attach_arenas(0, vec![Arc::clone(arena.mapping())]);
    let (socket, mut client) = connect(&mut ring);
    let (mut pieces, mut expected) = (Vec::new(), Vec::new());
    for index in 0..2400 {
        let (at, len) = (index * 97, 1 + index * 7 % 9001);
        match index % 3 {
            0 => pieces.push(SendPiece::Owned(pattern(len, index))),
            1 => pieces.push(SendPiece::Shared(Arc::clone(&shared), at..at + len)),
            _ => pieces.push(SendPiece::Arena { arena: 0, position: at, len }),
        }
        match pieces.last().unwrap() {
            SendPiece::Owned(bytes) => expected.extend_from_slice(bytes),
            SendPiece::Shared(buffer, range) => expected.extend_from_slice(&buffer.as_slice()[range.clone()]),
            SendPiece::Arena { position, len, .. } => expected.extend_from_slice(arena.read(*position, *len)),
        }
    }
    assert!(expected.len() > 10_000_000, "{}", expected.len());
    ring.send(&socket, pieces, 3);
    ring.submit().unwrap();
    let total = expected.len();
    let reader = thread::spawn(move || {
        let mut seen = vec![0; expected.len()];
        for (index, part) in seen.chunks_mut(200_000).enumerate() {
            client.read_exact(part).unwrap();
            if index % 8 == 0 {
                thread::sleep(Duration::from_millis(3));
            }
        }
        seen == expected
    });
    let (pieces, result) = sent(next(&mut ring));
    assert_eq!((pieces.len(), result.unwrap()), (2400, total));
    drop(pieces);
    assert_eq!(Arc::strong_count(&shared), 1, "the pieces came back, nothing keeps them");
    assert!(reader.join().unwrap(), "the bytes differ");
}

#[test]
fn a_broken_connection_gives_the_pieces_back_with_the_error() {
    let mut ring = ring();
    let (socket, client) = connect(&mut ring);
    ring.send(&socket, owned(&pattern(64 << 20, 1)), 1);
    nothing_for(&mut ring, 20);
    drop(client);
    let (pieces, result) = sent(next(&mut ring));
    assert!(result.is_err(), "{result:?}");
    assert_eq!(pieces.len(), 1);
    ring.send(&socket, owned(b"more"), 2);
    assert!(sent(next(&mut ring)).1.is_err());
}

#[test]
fn nothing_to_send_completes_at_once_and_frees_the_socket() {
    let mut ring = ring();
    let (socket, _client) = connect(&mut ring);
    for pieces in [Vec::new(), owned(b"")] {
        ring.send(&socket, pieces, 1);
        assert_eq!(sent(ring.next_completion().unwrap()).1.unwrap(), 0);
    }
}

#[test]
#[should_panic(expected = "a send is in flight")]
fn two_sends_of_one_socket_may_not_overtake_each_other() {
    let mut ring = ring();
    let (socket, _client) = connect(&mut ring);
    ring.send(&socket, owned(b"first"), 1);
    ring.send(&socket, owned(b"second"), 2);
}

#[test]
fn shutting_a_socket_down_ends_its_receive() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    ring.receive(&socket, 1);
    nothing_for(&mut ring, 5);
    socket.shutdown();
    assert_eq!(received(next(&mut ring)).2.len(), 0);
    drop(socket);
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn a_cancelled_receive_reports_so_and_the_socket_lives_on() {
    let mut ring = ring();
    let (socket, mut client) = connect(&mut ring);
    let operation = ring.receive(&socket, 1);
    nothing_for(&mut ring, 5);
    ring.cancel(operation);
    ring.cancel(operation);
    match next(&mut ring) {
        Completion { token: 1, last: true, outcome: Outcome::Received(Err(error)) } => {
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        }
        other => panic!("{other:?}"),
    }
    ring.cancel(operation);
    ring.receive(&socket, 2);
    client.write_all(b"still here").unwrap();
    assert_eq!(&*received(next(&mut ring)).2, b"still here");
}
