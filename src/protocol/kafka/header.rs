//! The headers before requests and responses.
//!
//! ```text
//! request   i16 api_key, i16 api_version, i32 correlation_id, client_id (i16 length, -1 null), [tagged section]
//! response  i32 correlation_id, [tagged section]
//! ```
//! The tagged section is there in request header 2 and response header 1 (see [`ApiKey`]). The client id keeps its
//! inflexible form in both request headers. Request header 0, without a client id, left with Kafka 4.0.

use super::api::ApiKey;
use super::field::{Context, Field};
use super::{Reader, Writer};
use crate::protocol::{Error, Result};

/// What stands before a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    pub api_key: ApiKey,
    /// As the client says; may be a version that nobody knows, for ApiVersions even legitimately.
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<&'a str>,
}

/// What stands before a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

/// The form that headers have outside their tagged section.
const INFLEXIBLE: Context = Context { version: 0, flexible: false };

impl<'a> RequestHeader<'a> {
    /// Reads a header; the body follows in the reader.
    ///
    /// # Errors
    /// `UnknownApiKey`, since then the header's own form is not known; or what is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        let code = i16::decode(reader, INFLEXIBLE)?;
        let api_version = i16::decode(reader, INFLEXIBLE)?;
        let correlation_id = i32::decode(reader, INFLEXIBLE)?;
        let api_key = ApiKey::from_code(code).ok_or(Error::UnknownApiKey { api_key: code })?;
        let client_id = Field::decode(reader, INFLEXIBLE)?;
        if api_key.request_header_version(api_version) >= 2 {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Appends the header to `writer`.
    ///
    /// # Errors
    /// `StringTooLong`.
    pub fn encode(&self, writer: &mut Writer) -> Result<()> {
        self.api_key.code().encode(writer, INFLEXIBLE)?;
        self.api_version.encode(writer, INFLEXIBLE)?;
        self.correlation_id.encode(writer, INFLEXIBLE)?;
        self.client_id.encode(writer, INFLEXIBLE)?;
        if self.api_key.request_header_version(self.api_version) >= 2 {
            writer.put_varint(0);
        }
        Ok(())
    }
}

impl ResponseHeader {
    /// Reads the header of a response to `version` of `api_key`.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'_>, api_key: ApiKey, version: i16) -> Result<Self> {
        let correlation_id = i32::decode(reader, INFLEXIBLE)?;
        if api_key.response_header_version(version) >= 1 {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { correlation_id })
    }

    /// Appends the header of a response to `version` of `api_key` to `writer`.
    ///
    /// # Errors
    /// None today; a `Result` as every encoder.
    pub fn encode(&self, writer: &mut Writer, api_key: ApiKey, version: i16) -> Result<()> {
        self.correlation_id.encode(writer, INFLEXIBLE)?;
        if api_key.response_header_version(version) >= 1 {
            writer.put_varint(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kip_482_the_client_id_stays_inflexible_in_a_flexible_header() -> Result<()> {
        let header = RequestHeader {
            api_key: ApiKey::ApiVersions,
            api_version: 3,
            correlation_id: 7,
            client_id: Some("rl"),
        };
        let mut writer = Writer::new();
        header.encode(&mut writer)?;
        let bytes = [0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'r', b'l', 0];
        assert_eq!(writer.encoded(), bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(RequestHeader::decode(&mut reader), Ok(header));
        assert_eq!(reader.expect_end(), Ok(()));
        Ok(())
    }

    #[test]
    fn an_inflexible_header_has_no_tagged_section() -> Result<()> {
        let header =
            RequestHeader { api_key: ApiKey::Fetch, api_version: 11, correlation_id: -1, client_id: None };
        let mut writer = Writer::new();
        header.encode(&mut writer)?;
        assert_eq!(writer.encoded(), [0, 1, 0, 11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        Ok(())
    }

    #[test]
    fn an_unknown_version_still_has_a_readable_header_and_an_unknown_key_has_none() {
        let api_versions_99 = [0, 18, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 2, 0xaa, 0xbb];
        let mut reader = Reader::new(&api_versions_99);
        let header = RequestHeader::decode(&mut reader);
        assert_eq!(header.map(|header| header.api_version), Ok(99));
        assert_eq!(reader.remaining(), 0);

        let unknown = [0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
        assert_eq!(
            RequestHeader::decode(&mut Reader::new(&unknown)),
            Err(Error::UnknownApiKey { api_key: 0x7fff })
        );
    }

    #[test]
    fn response_headers_have_their_section_from_the_first_flexible_version_on() -> Result<()> {
        for (api_key, version, expected) in [
            (ApiKey::ApiVersions, 4, &[0, 0, 0, 9][..]),
            (ApiKey::Metadata, 8, &[0, 0, 0, 9][..]),
            (ApiKey::Metadata, 9, &[0, 0, 0, 9, 0][..]),
        ] {
            let header = ResponseHeader { correlation_id: 9 };
            let mut writer = Writer::new();
            header.encode(&mut writer, api_key, version)?;
            assert_eq!(writer.encoded(), expected);
            assert_eq!(ResponseHeader::decode(&mut Reader::new(expected), api_key, version), Ok(header));
        }
        Ok(())
    }
}
