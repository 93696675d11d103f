//! The listener of health and metrics: HTTP/1.1, one request to a connection.
//!
//! Lives: one thread for all of it, beside the shards and the control thread, so that it answers while the latter is in a flush
//! or recovers, and before the broker serves. Connections are few and short: more than 32 wait, and none lives longer
//! than 5 s, whatever its client does. However many ask, each shard is asked once a second at most.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::page::{About, Figures, NamedTopics, render};
use crate::broker::driver::{ShardFigures, ShardState, Watch};
use crate::config::{AdminListener, BrokerConfig};
use crate::model::number::wide;
use crate::runtime::clock::{Clock as _, SystemClock};
use crate::runtime::net::resolve;
use crate::runtime::process;
use crate::runtime::thread;

/// Connections that are served at a time.
const CONNECTIONS_MAX: usize = 32;
/// From a connection's acceptance to its end, and to the end of its request's head.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
const HEAD_TIME_MAX: Duration = Duration::from_secs(1);
/// A shard that has not answered for so long is silent.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// What the shards have said is told again for so long, however many ask.
const FRESH_TIME: Duration = Duration::from_secs(1);
/// After accepting failed (no descriptors left), it is tried again so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A port in use is tried for so long if it was asked for, and so often: a process that was killed may have it for a moment.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
const PORT_PAUSE: Duration = Duration::from_millis(5);
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
    site: Arc<Site>,
    address: SocketAddr,
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
        let is_given = config.is_given("admin.listener");
        let began = std::time::Instant::now();
        loop {
            match Self::try_bind(address) {
                Ok(bound) => return Ok(Some(bound)),
                Err(error) if !is_given => {
                    tracing::warn!(%address, %error, "no health and metrics: the default of admin.listener is not to be had");
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse && began.elapsed() < PORT_PATIENCE => {
                    std::thread::sleep(PORT_PAUSE);
                }
                Err(source) => return Err(Error::Listen { address, source }),
            }
        }
    }

    fn try_bind(address: SocketAddr) -> std::io::Result<Self> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Serves until the result is dropped: that the broker starts, until it is told more.
    ///
    /// # Errors
    /// Of the machine.
    pub fn serve(self, config: &BrokerConfig) -> Result<Admin, Error> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Error::Start { source })?;
        let site = Arc::new(Site {
            version: env!("CARGO_PKG_VERSION"),
            node_id: config.node_id.0,
            memory_bytes_max: wide(config.memory_bytes),
            per_partition: config.metrics_per_partition,
            serving: OnceLock::new(),
            told: Arc::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let (served, address) = (Arc::clone(&site), self.address);
        let thread = thread::spawn("ringlog-admin", move || run(&runtime, self.listener, served, stopped))?;
        Ok(Admin { site, address, stop: Some(stop), thread: Some(thread) })
    }
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The broker serves from now on, at these addresses.
    pub fn begin_watching(&self, listeners: Vec<String>, watch: Watch) {
        let _ = self.site.serving.set(Serving { listeners, watch, started_ms: SystemClock.wall_ms() });
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
                .header_read_timeout(HEAD_TIME_MAX)
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
    version: &'static str,
    node_id: i32,
    memory_bytes_max: u64,
    per_partition: bool,
    /// From when on the broker serves.
    serving: OnceLock<Serving>,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug)]
struct Serving {
    listeners: Vec<String>,
    watch: Watch,
    started_ms: i64,
}

/// What was asked of the shards last. One asks at a time, and the others are told the same.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Of a broker that served.
    has_served: bool,
    /// The last word of each shard, by number.
    shards: BTreeMap<u16, ShardFigures>,
    topics: NamedTopics,
    page: Bytes,
    /// What keeps the broker from being ready, a line each.
    troubles: String,
}

type Reply = Response<Full<Bytes>>;

async fn answer(site: &Arc<Site>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = reply(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => match fresh(site).await {
            Some((page, _)) => reply(StatusCode::OK, OPEN_METRICS, page),
            None => reply(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "the page could not be made\n"),
        },
        // That there is an answer is the answer: what a shard does is for /readyz to say.
        "/healthz" => reply(StatusCode::OK, PLAIN, "ok\n"),
        "/readyz" => match fresh(site).await {
            Some((_, troubles)) if troubles.is_empty() => reply(StatusCode::OK, PLAIN, "ready\n"),
            Some((_, troubles)) => reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, troubles),
            None => reply(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "unknown\n"),
        },
        "/version" => {
            let Site { version, node_id, .. } = &**site;
            let body = format!("{{\"name\":\"ringlog\",\"version\":\"{version}\",\"node_id\":{node_id}}}\n");
            reply(StatusCode::OK, JSON, body)
        }
        "/" => reply(StatusCode::OK, PLAIN, "Ringlog: /metrics /healthz /readyz /version\n"),
        _ => reply(StatusCode::NOT_FOUND, PLAIN, "not found\n"),
    })
}

/// The page and what keeps the broker from being ready, at most [`FRESH_TIME`] old. A task of its own: a client that goes away does
/// not have its question asked again for the next.
async fn fresh(site: &Arc<Site>) -> Option<(Bytes, String)> {
    let site = Arc::clone(site);
    let asked = tokio::spawn(async move {
        let mut told = Arc::clone(&site.told).lock_owned().await;
        let is_old = told.at.is_none_or(|at| at.elapsed() >= FRESH_TIME);
        if is_old || site.serving.get().is_some() != told.has_served {
            told.refresh(&site).await;
        }
        (told.page.clone(), told.troubles.clone())
    });
    asked.await.ok()
}

impl Told {
    async fn refresh(&mut self, site: &Site) {
        let serving = site.serving.get();
        let mut silent: Vec<u16> = Vec::new();
        self.troubles.clear();
        match serving {
            Some(Serving { watch, .. }) => silent = self.ask(watch, site.per_partition).await,
            None => self.troubles.push_str("the broker starts\n"),
        }
        for (number, shard) in &self.shards {
            let trouble = match shard.state {
                _ if silent.contains(number) => continue,
                ShardState::Serving => continue,
                ShardState::Recovering => "recovers its log",
                ShardState::Stopping => "stops",
            };
            let _infallible = writeln!(self.troubles, "shard {number} {trouble}");
        }
        for number in &silent {
            let _infallible = writeln!(self.troubles, "shard {number} does not answer");
        }
        let shards: Vec<ShardFigures> = self.shards.values().cloned().collect();
        self.topics.follow(&shards);
        let figures = Figures {
            about: About {
                version: site.version,
                node_id: site.node_id,
                listeners: serving.map(|serving| serving.listeners.clone()).unwrap_or_default(),
                memory_bytes_max: site.memory_bytes_max,
                started_ms: serving.map_or(0, |serving| serving.started_ms),
            },
            shard_count: serving.map_or(0, |serving| serving.watch.shard_count()),
            silent_count: silent.len(),
            shards,
            topics: self.topics.clone(),
            process: process::read(),
        };
        self.page = render(Arc::new(figures)).map(Bytes::from).unwrap_or_default();
        self.at = Some(Instant::now());
        self.has_served = serving.is_some();
    }

    /// Keeps what the shards say that answer in time. Returns those that do not.
    async fn ask(&mut self, watch: &Watch, with_partitions: bool) -> Vec<u16> {
        let (sender, mut answers) = mpsc::unbounded_channel();
        watch.ask(with_partitions, move |figures| {
            // Too late is too late.
            let _ = sender.send(figures);
        });
        let deadline = Instant::now() + ANSWER_TIME_MAX;
        let mut silent: Vec<u16> = (0..).take(watch.shard_count()).collect();
        while let Ok(Some(figures)) = timeout_at(deadline, answers.recv()).await {
            silent.retain(|&number| number != figures.number);
            self.shards.insert(figures.number, *figures);
        }
        silent
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
