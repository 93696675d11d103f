//! TCP: listening sockets and connections, as the ring uses them.
//!
//! Sockets are blocking ones (the ring waits for readiness itself; a non-blocking one would answer EAGAIN).
//! No `SO_REUSEPORT`: it would hide a port that is in use, and hash several heavy connections onto one shard.

#![expect(unsafe_code, reason = "socket options that the standard library does not set before bind")]

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::config::{Endpoint, Host};
use crate::runtime::{Error, Result};

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds and listens. Port 0 picks a free one (see [`address`](Self::address)); an IPv6 address takes IPv6
    /// connections only; `backlog` connections may wait to be accepted.
    pub fn bind(address: SocketAddr, backlog: u16) -> Result<Self> {
        let failed = |source| Error::Listen { address, source };
        let socket = stream_socket(&address).map_err(failed)?;
        let enable = |level, option| set_option(&socket, level, option, 1).map_err(failed);
        // A restart must not wait for the old connections' TIME_WAIT; a living listener still refuses us.
        enable(libc::SOL_SOCKET, libc::SO_REUSEADDR)?;
        if address.is_ipv6() {
            enable(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)?;
        }
        bind(&socket, &address).map_err(failed)?;
        // SAFETY: an open socket; no memory is passed.
        if unsafe { libc::listen(socket.as_raw_fd(), i32::from(backlog)) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The same, but an address in use is tried again for a second: a process that was killed listens until the kernel has taken its
    /// ring apart, which goes on for a moment after its death, and whoever starts it again at once must not be refused. Blocks.
    pub fn bind_patiently(address: SocketAddr, backlog: u16) -> Result<Self> {
        let began = Instant::now();
        loop {
            match Self::bind(address, backlog) {
                Err(error) if error.is_address_in_use() && began.elapsed() < PORT_PATIENCE => {
                    std::thread::sleep(PORT_PAUSE);
                }
                bound => return bound,
            }
        }
    }

    /// The address that it is bound to, with the port that was given.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(in crate::runtime) fn descriptor(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

/// The address to bind for an endpoint; of a name the first that it stands for. Blocks while a name is looked up.
///
/// # Errors
/// The name is not known.
pub fn resolve(endpoint: &Endpoint) -> io::Result<SocketAddr> {
    match &endpoint.host {
        Host::Any => Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), endpoint.port)),
        Host::Ip(address) => Ok(SocketAddr::new(*address, endpoint.port)),
        Host::Name(name) => {
            let mut found = (name.as_str(), endpoint.port).to_socket_addrs()?;
            found.next().ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }
}

/// An address may be in use for so long, and is tried so often.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
const PORT_PAUSE: Duration = Duration::from_millis(5);

/// For how long nothing has gone over a connection. Unit: ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// Since data last came, whether it has been received or not.
    pub received_ms: i64,
    /// Some of it has not been received.
    pub has_unread: bool,
    /// Since data was last put on the wire: the other end's window takes it.
    pub sent_ms: i64,
    /// The other end sends no more, or the connection is broken.
    pub has_ended: bool,
}

/// `TCP_ESTABLISHED` of the kernel's `net/tcp_states.h`: both ends may send.
const TCP_ESTABLISHED: u8 = 1;

/// A connection. Closed when its last owner (the connection's code, or an operation in flight) is gone.
///
/// It may be moved to another thread, and is then used by that thread's ring only.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// A send is in flight: a second one could overtake it.
    sending: Cell<bool>,
    /// The last receive emptied it: the next one waits first instead of trying in vain.
    drained: Cell<bool>,
}

impl Socket {
    /// The other end.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// This end.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Ends the connection in both directions: operations in flight complete (a receive with 0 bytes, a send with
    /// an error), and then the socket closes when it is dropped.
    pub fn shutdown(&self) {
        // An error means that the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Tells the other end that nothing more will be sent; receiving goes on.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// What the kernel knows of it, byte by byte, also while an operation is under way.
    ///
    /// # Errors
    /// Those of `getsockopt(TCP_INFO)`.
    pub fn quiet(&self) -> io::Result<Quiet> {
        // SAFETY: plain integers, for which zero is a value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = length_of::<libc::tcp_info>();
        let start: *mut libc::tcp_info = &raw mut info;
        // SAFETY: an open socket and writable memory of the stated length, of which the kernel fills what it knows.
        let outcome = unsafe {
            libc::getsockopt(
                self.descriptor(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                start.cast(),
                &raw mut length,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut unread: libc::c_int = 0;
        // SAFETY: an open socket and a writable integer, which the kernel sets to a count of bytes.
        let has_unread =
            unsafe { libc::ioctl(self.descriptor(), libc::FIONREAD, &raw mut unread) } == 0 && unread > 0;
        let (received, sent) = (info.tcpi_last_data_recv, info.tcpi_last_data_sent);
        let has_ended = info.tcpi_state != TCP_ESTABLISHED;
        Ok(Quiet { received_ms: i64::from(received), has_unread, sent_ms: i64::from(sent), has_ended })
    }

    pub(in crate::runtime) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub(in crate::runtime) fn sending(&self) -> &Cell<bool> {
        &self.sending
    }

    pub(in crate::runtime) fn drained(&self) -> &Cell<bool> {
        &self.drained
    }
}

/// Sends without delay, and finds out in the end that a silent peer is gone.
impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        // Both fail only when the connection was reset already, which the first operation reports.
        let _ = stream.set_nodelay(true);
        let _ = set_option(&stream, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        Self { stream, sending: Cell::new(false), drained: Cell::new(false) }
    }
}

impl From<OwnedFd> for Socket {
    fn from(descriptor: OwnedFd) -> Self {
        Self::from(TcpStream::from(descriptor))
    }
}

fn stream_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: takes no memory; the result is checked.
    let descriptor = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn set_option(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let start: *const libc::c_int = &raw const value;
    // SAFETY: an open socket and one readable integer of the stated length.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, start.cast(), length_of::<libc::c_int>())
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn bind(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    let outcome = match address {
        SocketAddr::V4(address) => {
            let name = libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            let start = (&raw const name).cast();
            // SAFETY: an open socket and a socket address of the stated length.
            unsafe { libc::bind(socket.as_raw_fd(), start, length_of::<libc::sockaddr_in>()) }
        }
        SocketAddr::V6(address) => {
            let name = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            let start = (&raw const name).cast();
            // SAFETY: as above.
            unsafe { libc::bind(socket.as_raw_fd(), start, length_of::<libc::sockaddr_in6>()) }
        }
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn family(family: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or(0)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_port_that_is_given_up_in_a_moment_is_waited_for() {
        let dying = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = dying.local_addr().unwrap();
        let end = std::thread::spawn(move || {
            std::thread::sleep(PORT_PAUSE * 10);
            drop(dying);
        });
        assert_eq!(Listener::bind_patiently(address, 16).unwrap().address(), address);
        end.join().unwrap();
    }

    #[test]
    fn a_port_in_use_is_refused_and_told_apart() {
        let first = Listener::bind(loopback(0), 16).unwrap();
        assert_ne!(first.address().port(), 0);
        let error = Listener::bind(first.address(), 16).unwrap_err();
        assert!(matches!(&error, Error::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse));
        assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    }

    #[test]
    fn an_ipv6_listener_leaves_the_ipv4_port_free() {
        let six = Listener::bind("[::]:0".parse().unwrap(), 16).unwrap();
        let four = Listener::bind(SocketAddr::from(([0, 0, 0, 0], six.address().port())), 16).unwrap();
        assert_eq!(four.address().port(), six.address().port());
        assert!(TcpStream::connect(("::1", six.address().port())).is_ok());
    }

    #[test]
    fn sockets_send_without_delay_and_know_both_ends() {
        let listener = Listener::bind(loopback(0), 16).unwrap();
        let client = TcpStream::connect(listener.address()).unwrap();
        let (accepted, _) = listener.listener.accept().unwrap();
        let socket = Socket::from(accepted);
        assert!(socket.stream.nodelay().unwrap());
        assert_eq!(socket.peer().unwrap(), client.local_addr().unwrap());
        assert_eq!(socket.local().unwrap(), listener.address());
        socket.finish_sending();
        socket.shutdown();
    }
}
