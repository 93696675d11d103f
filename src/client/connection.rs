//! One connection to one broker: versions agreed on, requests numbered, replies in their order, all of it in bounded time.
//!
//! Blocking: a call waits at most for its deadline. Several requests may be on their way (their number is the caller's
//! bound); replies come in the order of the requests. After an error of the connection it must be dropped: what stood
//! half read is lost.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::Settings;
use super::versions::BrokerVersions;
use super::{Error, Result};
use crate::model::ErrorCode;
use crate::model::limits::DECODE_ALLOCATION_BYTES_MAX;
use crate::protocol::kafka::header::ResponseHeader;
use crate::protocol::kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::protocol::kafka::{ApiKey, Reader, Request, Response, Writer, frame};

/// A connection whose broker has said which versions it serves.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: TcpStream,
    client_id: String,
    request_timeout: Duration,
    reply_bytes_max: usize,
    versions: BrokerVersions,
    next_correlation_id: i32,
    on_the_way: VecDeque<OnTheWay>,
    writer: Writer,
    /// Memory of a reply that was given back.
    spare: Vec<u8>,
}

/// A request that has no reply yet.
#[derive(Clone, Copy, Debug)]
struct OnTheWay {
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    sent: Instant,
    /// From `sent`.
    patience: Duration,
}

/// A reply as it came: one frame, whose header is read.
#[derive(Debug)]
pub struct Reply {
    frame: Vec<u8>,
    body_bytes: usize,
    version: i16,
    address: String,
    allocation_bytes_max: usize,
}

impl Connection {
    /// Connects to `HOST:PORT` and asks for the broker's versions.
    ///
    /// # Errors
    /// `Resolve`, `Connect`, or what a call can end with.
    pub fn open(address: &str, settings: &Settings) -> Result<Self> {
        let stream = dial(address, settings.connect_timeout)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream,
            client_id: settings.client_id.clone(),
            request_timeout: settings.request_timeout,
            reply_bytes_max: settings.reply_bytes_max,
            versions: BrokerVersions::default(),
            next_correlation_id: 0,
            on_the_way: VecDeque::new(),
            writer: Writer::new(),
            spare: Vec::new(),
        };
        connection.negotiate()?;
        Ok(connection)
    }

    /// `HOST:PORT` as it was dialled.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the broker serves.
    #[must_use]
    pub const fn versions(&self) -> &BrokerVersions {
        &self.versions
    }

    /// The highest version of `api_key` that both sides know.
    ///
    /// # Errors
    /// `Version`.
    pub fn version(&self, api_key: ApiKey) -> Result<i16> {
        self.version_up_to(api_key, i16::MAX)
    }

    /// The highest version up to `last` that both sides know.
    ///
    /// # Errors
    /// `Version`.
    pub fn version_up_to(&self, api_key: ApiKey, last: i16) -> Result<i16> {
        let none = || Error::Version { address: self.address.clone(), api_key, ours: api_key.versions() };
        self.versions.agreed(api_key, last).ok_or_else(none)
    }

    /// Requests without a reply yet.
    #[must_use]
    pub fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    /// Sends a request and waits for its reply. No other may be on the way.
    ///
    /// # Errors
    /// Of the connection.
    pub fn call<'m, M: Request<'m>>(&mut self, version: i16, request: &M) -> Result<Reply> {
        self.send(version, request, Duration::ZERO)?;
        self.receive()
    }

    /// Sends a request whose reply the broker may hold back for `broker_wait`.
    ///
    /// # Errors
    /// `Request`; of the connection.
    pub fn send<'m, M: Request<'m>>(
        &mut self,
        version: i16,
        request: &M,
        broker_wait: Duration,
    ) -> Result<()> {
        let correlation_id = self.send_without_reply(version, request)?;
        self.on_the_way.push_back(OnTheWay {
            api_key: M::API_KEY,
            version,
            correlation_id,
            sent: Instant::now(),
            patience: self.request_timeout.saturating_add(broker_wait),
        });
        Ok(())
    }

    /// Sends a request that the broker does not answer: Produce with `acks` 0. Returns its number.
    ///
    /// # Errors
    /// `Request`; of the connection.
    pub fn send_without_reply<'m, M: Request<'m>>(&mut self, version: i16, request: &M) -> Result<i32> {
        let correlation_id = self.next_correlation_id;
        self.writer.clear();
        frame::encode_request(&mut self.writer, version, correlation_id, Some(&self.client_id), request)
            .map_err(|error| Error::Request { error })?;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        let deadline = Deadline::after(self.request_timeout);
        let mut timed = Timed { stream: &self.stream, deadline };
        timed.write_all(self.writer.encoded()).map_err(|error| self.lost(error, self.request_timeout))?;
        Ok(correlation_id)
    }

    /// Waits for the reply to the oldest request on the way.
    ///
    /// # Errors
    /// `NoAnswer` when its time is over; `Wire`, `Correlation`; of the connection.
    pub fn receive(&mut self) -> Result<Reply> {
        let Some(request) = self.on_the_way.pop_front() else {
            let error = io::Error::other("no request is on the way");
            return Err(Error::Connection { address: self.address.clone(), error: Arc::new(error) });
        };
        let frame = self.read_frame(request.sent, request.patience)?;
        let allocation_bytes_max = self.reply_bytes_max.max(DECODE_ALLOCATION_BYTES_MAX);
        let mut reader = Reader::with_allocation_max(&frame, allocation_bytes_max);
        let header = ResponseHeader::decode(&mut reader, request.api_key, request.version)
            .map_err(|error| Error::Wire { address: self.address.clone(), error })?;
        if header.correlation_id != request.correlation_id {
            let (expected, found) = (request.correlation_id, header.correlation_id);
            return Err(Error::Correlation { address: self.address.clone(), expected, found });
        }
        let body_bytes = reader.remaining();
        let address = self.address.clone();
        Ok(Reply { frame, body_bytes, version: request.version, address, allocation_bytes_max })
    }

    /// Takes back the memory of a reply that is done with, for the next one.
    pub fn recycle(&mut self, reply: Reply) {
        self.spare = reply.frame;
    }

    fn read_frame(&mut self, sent: Instant, patience: Duration) -> Result<Vec<u8>> {
        let mut timed = Timed { stream: &self.stream, deadline: Deadline { at: sent.checked_add(patience) } };
        let mut prefix = [0; frame::PREFIX_BYTES];
        timed.read_exact(&mut prefix).map_err(|error| self.lost(error, patience))?;
        let bytes = frame::frame_bytes(prefix, self.reply_bytes_max)
            .map_err(|error| Error::Wire { address: self.address.clone(), error })?;
        // Memory follows the bytes that arrive, not the length that is claimed.
        let mut frame = std::mem::take(&mut self.spare);
        frame.clear();
        let limit = u64::try_from(bytes).unwrap_or(u64::MAX);
        timed.take(limit).read_to_end(&mut frame).map_err(|error| self.lost(error, patience))?;
        if frame.len() < bytes {
            return Err(Error::Closed { address: self.address.clone() });
        }
        Ok(frame)
    }

    fn lost(&self, error: io::Error, after: Duration) -> Error {
        let address = self.address.clone();
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::NoAnswer { address, after },
            io::ErrorKind::UnexpectedEof => Error::Closed { address },
            _ => Error::Connection { address, error: Arc::new(error) },
        }
    }

    /// Asks in our newest version; a broker that does not know it answers in version 0 with its own (KIP-511).
    fn negotiate(&mut self) -> Result<()> {
        let request = ApiVersionsRequest {
            client_software_name: "ringlog",
            client_software_version: env!("CARGO_PKG_VERSION"),
        };
        let ours = ApiKey::ApiVersions.versions();
        let mut version = ours.last;
        loop {
            let mut reply = self.call(version, &request)?;
            if reply.error_code_in_front() == Some(ErrorCode::UnsupportedVersion.code()) && version > 0 {
                reply.version = 0;
                let response: ApiVersionsResponse<'_> = reply.body()?;
                let known = BrokerVersions::of(&response);
                version = known.agreed(ApiKey::ApiVersions, version.saturating_sub(1)).unwrap_or(0);
                continue;
            }
            let response: ApiVersionsResponse<'_> = reply.body()?;
            super::error::check(response.error_code, || self.address.clone(), None)?;
            self.versions = BrokerVersions::of(&response);
            self.recycle(reply);
            return Ok(());
        }
    }
}

impl Reply {
    /// The version in which the body is written.
    #[must_use]
    pub const fn version(&self) -> i16 {
        self.version
    }

    /// The body, which must fill the frame. It borrows from the reply.
    ///
    /// # Errors
    /// `Wire`.
    pub fn body<'a, R: Response<'a>>(&'a self) -> Result<R> {
        let mut reader = Reader::with_allocation_max(self.bytes(), self.allocation_bytes_max);
        R::decode(&mut reader, self.version)
            .and_then(|body| reader.expect_end().map(|()| body))
            .map_err(|error| Error::Wire { address: self.address.clone(), error })
    }

    fn bytes(&self) -> &[u8] {
        let start = self.frame.len().saturating_sub(self.body_bytes);
        self.frame.get(start..).unwrap_or_default()
    }

    fn error_code_in_front(&self) -> Option<i16> {
        self.bytes().first_chunk().map(|bytes| i16::from_be_bytes(*bytes))
    }
}

/// Tries every address that the name has.
fn dial(address: &str, timeout: Duration) -> Result<TcpStream> {
    let resolve = |error| Error::Resolve { address: address.to_owned(), error: Arc::new(error) };
    let failed = |error| Error::Connect { address: address.to_owned(), error: Arc::new(error) };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in address.to_socket_addrs().map_err(resolve)? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                // Requests are written whole: waiting for more would only delay them.
                return stream.set_nodelay(true).map(|()| stream).map_err(failed);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

/// An instant to be ready by; `None` is never.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Option<Instant>,
}

impl Deadline {
    fn after(duration: Duration) -> Self {
        Self { at: Instant::now().checked_add(duration) }
    }

    /// What is left of it, as a socket's timeout.
    fn left(self) -> io::Result<Option<Duration>> {
        let Some(at) = self.at else { return Ok(None) };
        match at.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

/// A socket whose reads and writes all end by one deadline, so that a peer which sends a byte at a time gains nothing.
#[derive(Clone, Copy, Debug)]
struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Deadline,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.deadline.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.deadline.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
