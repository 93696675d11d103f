//! Frames: `i32 length` (big-endian, not counting itself), then a header and a body.

use super::header::{RequestHeader, ResponseHeader};
use super::{ApiKey, Request, Response, Writer};
use crate::protocol::{Error, Result};
use std::ops::Range;

/// Bytes of the length before a frame.
pub const PREFIX_BYTES: usize = 4;

/// The size of the frame behind `prefix`.
///
/// # Errors
/// `FrameSize`, if it is negative or above `bytes_max`; Kafka closes the connection then.
pub fn frame_bytes(prefix: [u8; PREFIX_BYTES], bytes_max: usize) -> Result<usize> {
    let length = i32::from_be_bytes(prefix);
    let out_of_bounds = Error::FrameSize { found: i64::from(length), bytes_max };
    usize::try_from(length).ok().filter(|&bytes| bytes <= bytes_max).ok_or(out_of_bounds)
}

/// Appends a whole frame with a request: length, header, body.
///
/// # Errors
/// What the version cannot carry; `writer` is then as before.
pub fn encode_request<'m, M: Request<'m>>(
    writer: &mut Writer,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &M,
) -> Result<()> {
    let header = RequestHeader { api_key: M::API_KEY, api_version: version, correlation_id, client_id };
    encode_frame(writer, |writer| {
        header.encode(writer)?;
        body.encode(writer, version)
    })
}

/// Appends a whole frame with a response: length, header, body.
///
/// # Errors
/// What the version cannot carry; `writer` is then as before.
pub fn encode_response<'m, M: Response<'m>>(
    writer: &mut Writer,
    version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<()> {
    encode_response_with(writer, M::API_KEY, version, correlation_id, |writer| body.encode(writer, version))
}

/// The same with a body that is written by `body`.
///
/// # Errors
/// Those of `body`; `writer` is then as before.
pub fn encode_response_with(
    writer: &mut Writer,
    api_key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: impl FnOnce(&mut Writer) -> Result<()>,
) -> Result<()> {
    encode_frame(writer, |writer| {
        ResponseHeader { correlation_id }.encode(writer, api_key, version)?;
        body(writer)
    })
}

/// Where in `frame` the borrowed `part` lies; `None` if it is not a part of it. For owners of a counted buffer, who
/// keep a part alive by its position.
#[must_use]
pub fn position_in(frame: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(frame.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= frame.len()).then_some(start..end)
}

fn encode_frame(writer: &mut Writer, content: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
    let start = writer.begin_frame();
    let result = content(writer).and_then(|()| writer.end_frame(start));
    if result.is_err() {
        writer.abandon_frame(start);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        assert_eq!(frame_bytes([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(frame_bytes([0, 0, 0, 0], 256), Ok(0));
        assert_eq!(frame_bytes([0, 0, 1, 1], 256), Err(Error::FrameSize { found: 257, bytes_max: 256 }));
        assert_eq!(
            frame_bytes([0xff; 4], usize::MAX),
            Err(Error::FrameSize { found: -1, bytes_max: usize::MAX })
        );
    }

    #[test]
    fn a_part_is_found_in_its_frame_only() {
        let frame = [1, 2, 3, 4, 5];
        assert_eq!(position_in(&frame, &frame[1..4]), Some(1..4));
        assert_eq!(position_in(&frame, &frame[5..]), Some(5..5));
        assert_eq!(position_in(&frame[..2], &frame[1..4]), None);
        assert_eq!(position_in(&frame[2..], &frame[1..4]), None);
    }
}
