//! What holds, for who asks on this host: `/metrics`, `/healthz`, `/status`. Nothing can be changed here.
//!
//! Who asks is not asked who he is, so it listens on loopback alone. A page in somebody's browser on this host
//! could still ask under a name of its own that it makes point here: what is asked by another name than the
//! loopback's is refused.

mod error;
mod limit;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{SchemaVersion, Status};
use crate::metrics::{self, Snapshot};

pub use error::HttpError;
pub use limit::Limits;

/// What is served: always the last snapshot.
pub type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// The paths that there are.
const PATHS: &str = "/metrics, /healthz, /status";

/// Listens on a loopback address, within a runtime.
///
/// # Errors
/// Where the address can be reached from other hosts, and where it is not to be had.
pub fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    on_loopback(address)?;
    let listener = std::net::TcpListener::bind(address).and_then(to_wait_at);
    listener.map_err(|cause| HttpError::Bind { address, cause })
}

/// Listens on a socket that somebody else opened, and leaves it open.
///
/// # Errors
/// Where its address can be reached from other hosts, and where it is no such socket.
pub fn take(given: &std::net::TcpListener) -> Result<TcpListener, HttpError> {
    on_loopback(given.local_addr().map_err(HttpError::Serve)?)?;
    let listener = given.try_clone().and_then(to_wait_at);
    listener.map_err(HttpError::Serve)
}

fn to_wait_at(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves, until it is dropped.
///
/// # Errors
/// Where the listener can be reached from other hosts, or its socket fails.
pub async fn serve(listener: TcpListener, snapshots: Snapshots) -> Result<(), HttpError> {
    serve_within(listener, snapshots, Limits::default()).await
}

/// The same, within other limits.
///
/// # Errors
/// As [`serve`].
pub async fn serve_within(
    listener: TcpListener,
    snapshots: Snapshots,
    limits: Limits,
) -> Result<(), HttpError> {
    on_loopback(listener.local_addr().map_err(HttpError::Serve)?)?;
    let listener = limit::Limited::new(listener, limits);
    let served = axum::serve(listener, router(snapshots));
    served.await.map_err(HttpError::Serve)
}

/// Refuses addresses that others than this host can reach.
///
/// # Errors
/// Where it is one.
pub fn on_loopback(address: SocketAddr) -> Result<(), HttpError> {
    if address.ip().to_canonical().is_loopback() {
        Ok(())
    } else {
        Err(HttpError::NotLoopback { address })
    }
}

/// What is asked, and who answers.
fn router(snapshots: Snapshots) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(show_health))
        .route("/status", get(show_status))
        .fallback(|| async { told(StatusCode::NOT_FOUND, format!("there is {PATHS}\n")) })
        .layer(from_fn(only_by_loopback_names))
        .with_state(snapshots)
}

/// The last snapshot, without keeping the next from being published.
fn last(snapshots: &Snapshots) -> Arc<Snapshot> {
    Arc::clone(&snapshots.borrow())
}

async fn show_metrics(State(snapshots): State<Snapshots>) -> Response {
    let text = last(&snapshots).metrics();
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn show_health(State(snapshots): State<Snapshots>) -> Response {
    let snapshot = last(&snapshots);
    let Some(status) = snapshot.status() else {
        return unknown();
    };
    if status.healthy {
        return told(StatusCode::OK, "healthy\n".to_owned());
    }
    let problems = status.problems.iter().map(|problem| {
        let (stage, what, since) = (problem.stage.name(), &problem.what, problem.since);
        format!("{stage}: {what} (since {since})\n")
    });
    let text: String = problems.collect();
    told(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// What is told of the state.
#[derive(Serialize)]
struct Told<'s> {
    schema_version: SchemaVersion,
    #[serde(flatten)]
    status: &'s Status,
}

async fn show_status(State(snapshots): State<Snapshots>) -> Response {
    let snapshot = last(&snapshots);
    let Some(status) = snapshot.status() else {
        return unknown();
    };
    let told_status = Told {
        schema_version: SchemaVersion::NOW,
        status,
    };
    match serde_json::to_string(&told_status) {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => told(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot write the state as JSON: {error}\n"),
        ),
    }
}

fn unknown() -> Response {
    told(
        StatusCode::SERVICE_UNAVAILABLE,
        "nothing is known yet: the daemon is starting\n".to_owned(),
    )
}

fn told(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn only_by_loopback_names(request: Request, next: Next) -> Response {
    let mut response = if by_loopback_name(request.headers()) {
        next.run(request).await
    } else {
        told(
            StatusCode::FORBIDDEN,
            "asked by a name that is not the loopback's: use localhost, 127.0.0.1 or [::1]\n"
                .to_owned(),
        )
    };
    let headers = response.headers_mut();
    // It changes each second, and is what it says that it is.
    headers.insert(
        CACHE_CONTROL,
        axum::http::HeaderValue::from_static("no-store"),
    );
    headers.insert(
        X_CONTENT_TYPE_OPTIONS,
        axum::http::HeaderValue::from_static("nosniff"),
    );
    response
}

/// Whether the host was asked by one name, and that is the loopback's.
fn by_loopback_name(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(HOST).iter();
    match (names.next(), names.next()) {
        (Some(name), None) => name.to_str().is_ok_and(is_loopback),
        _ => false,
    }
}

/// Whether this is a loopback name or address, with a port or without.
fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = bare.parse::<IpAddr>();
    bare.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}
