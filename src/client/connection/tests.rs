//! Against brokers made of a listener and a script of bytes.

use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use super::*;
use crate::protocol::kafka::messages::api_versions::ApiVersion;
use crate::protocol::kafka::messages::metadata::{MetadataRequest, MetadataResponse};

fn settings(port: u16) -> Settings {
    let mut settings = Settings::new(&format!("127.0.0.1:{port}")).unwrap();
    settings.request_timeout = Duration::from_millis(300);
    settings.reply_bytes_max = 10_000;
    settings
}

fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).unwrap();
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(prefix)).unwrap()];
    stream.read_exact(&mut frame).unwrap();
    frame
}

fn api_versions(error_code: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let row =
        |api_key: ApiKey, max_version| ApiVersion { api_key: api_key.code(), min_version: 0, max_version };
    let api_keys = vec![row(ApiKey::ApiVersions, 2), row(ApiKey::Metadata, 9)];
    let response = ApiVersionsResponse { error_code, api_keys, ..ApiVersionsResponse::default() };
    let mut writer = Writer::new();
    frame::encode_response(&mut writer, version, correlation_id, &response).unwrap();
    writer.encoded().to_vec()
}

fn metadata(correlation_id: i32, cluster_id: &str) -> Vec<u8> {
    let response = MetadataResponse { cluster_id: Some(cluster_id), ..MetadataResponse::default() };
    let mut writer = Writer::new();
    frame::encode_response(&mut writer, 9, correlation_id, &response).unwrap();
    writer.encoded().to_vec()
}

/// A broker that speaks ApiVersions up to 2, then does what `script` says.
fn broker(script: impl FnOnce(TcpStream) + Send + 'static) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let first = read_request(&mut stream);
        assert_eq!(first[..4], [0, 18, 0, 4], "the newest version first");
        stream.write_all(&api_versions(35, 0, 0)).unwrap();
        let second = read_request(&mut stream);
        assert_eq!(second[..4], [0, 18, 0, 2], "then the newest that both know");
        stream.write_all(&api_versions(0, 2, 1)).unwrap();
        script(stream);
    });
    (port, handle)
}

/// Connects, and asks for metadata, to which the broker answers these bytes.
fn ask(answer: Vec<u8>) -> Result<String> {
    let (port, handle) = broker(move |mut stream| {
        read_request(&mut stream);
        stream.write_all(&answer).unwrap();
        // Open until the client has gone.
        let _ = stream.read(&mut [0]);
    });
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), &settings(port))?;
    let version = connection.version(ApiKey::Metadata)?;
    let result = connection.call(version, &MetadataRequest::default());
    let text = result.and_then(|reply| {
        let body: MetadataResponse<'_> = reply.body()?;
        Ok(body.cluster_id.unwrap_or_default().to_owned())
    });
    drop(connection);
    handle.join().unwrap();
    text
}

#[test]
fn kip_511_a_broker_that_knows_less_is_asked_again() {
    assert_eq!(ask(metadata(2, "own")).unwrap(), "own");
}

#[test]
fn an_answer_that_is_not_the_one_due_is_refused() {
    assert!(matches!(ask(metadata(7, "x")), Err(Error::Correlation { expected: 2, found: 7, .. })));
    let too_large = [&20_000_i32.to_be_bytes()[..], &[0; 100]].concat();
    assert!(matches!(
        ask(too_large),
        Err(Error::Wire { error: crate::protocol::Error::FrameSize { found: 20_000, .. }, .. })
    ));
    let mut trailing = metadata(2, "x");
    trailing.push(0);
    let length = i32::try_from(trailing.len() - 4).unwrap();
    trailing[..4].copy_from_slice(&length.to_be_bytes());
    assert!(matches!(
        ask(trailing),
        Err(Error::Wire { error: crate::protocol::Error::TrailingBytes { bytes: 1 }, .. })
    ));
}

#[test]
fn a_broker_that_sends_a_byte_at_a_time_is_left_at_the_deadline() {
    let (port, handle) = broker(|mut stream| {
        read_request(&mut stream);
        let answer = metadata(2, &"x".repeat(2000));
        for byte in answer {
            if stream.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("all of it was taken");
    });
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), &settings(port)).unwrap();
    let began = Instant::now();
    let error = connection.call(9, &MetadataRequest::default()).unwrap_err();
    assert!(matches!(error, Error::NoAnswer { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(connection);
    handle.join().unwrap();
}

#[test]
fn a_broker_that_closes_is_named() {
    let (port, handle) = broker(|mut stream| drop(read_request(&mut stream)));
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), &settings(port)).unwrap();
    let error = connection.call(9, &MetadataRequest::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("127.0.0.1:{port} closed the connection"));
    handle.join().unwrap();
    let refused = Connection::open(&format!("127.0.0.1:{port}"), &settings(port)).unwrap_err();
    assert!(matches!(refused, Error::Connect { .. }) && refused.is_retriable(), "{refused}");
}

#[test]
fn several_requests_on_the_way_are_answered_in_order() {
    let (port, handle) = broker(|mut stream| {
        read_request(&mut stream);
        read_request(&mut stream);
        stream.write_all(&[metadata(2, "one"), metadata(3, "two")].concat()).unwrap();
    });
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"), &settings(port)).unwrap();
    for _ in 0..2 {
        connection.send(9, &MetadataRequest::default(), Duration::ZERO).unwrap();
    }
    assert_eq!(connection.on_the_way(), 2);
    for expected in ["one", "two"] {
        let reply = connection.receive().unwrap();
        let body: MetadataResponse<'_> = reply.body().unwrap();
        assert_eq!(body.cluster_id, Some(expected));
        connection.recycle(reply);
    }
    assert!(connection.receive().is_err());
    handle.join().unwrap();
}
