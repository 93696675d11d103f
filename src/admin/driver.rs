//! The listener of health and metrics: HTTP/1.1, one request to a connection.
//!
//! Lives: one thread for all of it, beside the shards and the control thread, so that it answers while the latter is in a flush
//! or recovers. Connections are few and short: more than [`CONNECTIONS_MAX`] wait, and none lives longer than
//! [`CONNECTION_TIME_MAX`], whatever its client does.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::page::{About, Figures, render};
use crate::broker::driver::{ShardFigures, ShardState, Watch};
use crate::config::{AdminListener, BrokerConfig};
use crate::model::number::wide;
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::net::resolve;
use crate::runtime::process;
use crate::runtime::thread;

/// Connections that are served at a time.
const CONNECTIONS_MAX: usize = 32;
/// From a connection's acceptance to its end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
/// A shard that has not answered for so long is silent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// After accepting failed (no descriptors left), it is tried again so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest request, head and all. Unit: bytes.
const REQUEST_BYTES_MAX: usize = 16 << 10;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Why health and metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("admin.listener: {host} is not known: {source}")]
    UnknownHost { host: String, source: std::io::Error },
    #[error("admin.listener: cannot listen on {address}: {source}; choose another address, or off")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the thread for health and metrics cannot be started: {source}")]
    Start { source: std::io::Error },
    #[error(transparent)]
    Thread(#[from] crate::runtime::Error),
}

/// A bound listener: connections wait until it serves.
#[derive(Debug)]
pub struct Bound {
    listener: StdListener,
    address: SocketAddr,
}

/// The serving thread. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Bound {
    /// Binds what `admin.listener` says; `None` if that is off, or only a default whose port somebody else has.
    ///
    /// # Errors
    /// The address is not to be had.
    pub fn bind(config: &BrokerConfig) -> Result<Option<Self>, Error> {
        let AdminListener::At(endpoint) = &config.admin_listener else { return Ok(None) };
        let unknown = |source| Error::UnknownHost { host: endpoint.to_string(), source };
        let address = resolve(endpoint).map_err(unknown)?;
        let bound = StdListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Self { address: listener.local_addr()?, listener })
        });
        match bound {
            Err(error) if !config.is_given("admin.listener") => {
                tracing::warn!(%address, %error, "no health and metrics: the default of admin.listener is not to be had");
                Ok(None)
            }
            Err(source) => Err(Error::Listen { address, source }),
            Ok(bound) => Ok(Some(bound)),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the result is dropped.
    ///
    /// # Errors
    /// Of the machine.
    pub fn serve(self, config: &BrokerConfig, listeners: Vec<String>, watch: Watch) -> Result<Admin, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Start { source })?;
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            node_id: config.node_id.0,
            listeners,
            memory_bytes_max: wide(config.memory_bytes),
            started_ms: SystemClock.wall_ms(),
        };
        let site = Arc::new(Site { about, watch, per_partition: config.metrics_per_partition });
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn("ringlog-admin", move || run(&runtime, self.listener, site, stopped))?;
        Ok(Admin { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Connections that are under way are given up when it ends.
fn run(runtime: &Runtime, listener: StdListener, site: Arc<Site>, stopped: oneshot::Receiver<Infallible>) {
    runtime.block_on(async {
        tokio::select! {
            _ = stopped => {}
            result = accept(listener, site) => {
                if let Err(error) = result {
                    tracing::error!(%error, "health and metrics are served no more");
                }
            }
        }
    });
}

async fn accept(listener: StdListener, site: Arc<Site>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let site = Arc::clone(&site);
        // Ends by itself, or with the runtime.
        drop(tokio::spawn(async move {
            let answer = service_fn(|request| answer(&site, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_buf_size(REQUEST_BYTES_MAX)
                .serve_connection(TokioIo::new(socket), answer);
            // Whatever the client did wrong, it has lost its connection.
            let _ = timeout(CONNECTION_TIME_MAX, connection).await;
            drop(place);
        }));
    }
}

/// What requests are answered from.
#[derive(Debug)]
struct Site {
    about: About,
    watch: Watch,
    per_partition: bool,
}

type Reply = Response<Full<Bytes>>;

async fn answer(site: &Site, request: Request<Incoming>) -> Result<Reply, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".to_owned());
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(site).await,
        // That there is an answer is the answer: what a shard does is for /readyz to say.
        "/healthz" => reply(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => ready(site).await,
        "/version" => {
            let About { version, node_id, .. } = &site.about;
            let body = format!("{{\"name\":\"ringlog\",\"version\":\"{version}\",\"node_id\":{node_id}}}\n");
            reply(StatusCode::OK, JSON, body)
        }
        "/" => reply(StatusCode::OK, PLAIN, "Ringlog: /metrics /healthz /readyz /version\n".to_owned()),
        _ => reply(StatusCode::NOT_FOUND, PLAIN, "not found\n".to_owned()),
    })
}

async fn metrics(site: &Site) -> Reply {
    let shards = ask(&site.watch, site.per_partition).await;
    let figures = Figures {
        about: site.about.clone(),
        shards,
        shard_count: site.watch.shard_count(),
        process: process::read(),
    };
    match render(Arc::new(figures)) {
        Ok(page) => reply(StatusCode::OK, OPEN_METRICS, page),
        Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
    }
}

/// Ready is a broker all of whose shards serve.
async fn ready(site: &Site) -> Reply {
    let shards = ask(&site.watch, false).await;
    let mut troubles = String::new();
    let mut trouble = |number: usize, what: &str| {
        troubles.push_str(&format!("shard {number} {what}\n"));
    };
    for number in 0..site.watch.shard_count() {
        match shards.iter().find(|shard| usize::from(shard.number) == number).map(|shard| shard.state) {
            Some(ShardState::Serving) => {}
            Some(ShardState::Recovering) => trouble(number, "recovers its log"),
            Some(ShardState::Stopping) => trouble(number, "stops"),
            None => trouble(number, "does not answer"),
        }
    }
    if troubles.is_empty() {
        reply(StatusCode::OK, PLAIN, "ready\n".to_owned())
    } else {
        reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, troubles)
    }
}

/// What the shards say that answer in time, in the order of their numbers.
async fn ask(watch: &Watch, with_partitions: bool) -> Vec<ShardFigures> {
    let (sender, mut answers) = mpsc::unbounded_channel();
    watch.ask(with_partitions, move |figures| {
        // Too late is too late.
        let _ = sender.send(figures);
    });
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    let mut shards = Vec::new();
    while let Ok(Some(figures)) = timeout_at(deadline, answers.recv()).await {
        shards.push(*figures);
    }
    shards.sort_unstable_by_key(|shard| shard.number);
    shards
}

fn reply(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    reply
}
