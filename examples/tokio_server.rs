//! A web server that leaves its computing to worker processes, so that it always answers, and on time.
//!
//! `cargo run --release --example tokio_server [-- PORT [SECONDS]]`, then for example
//! `curl 'http://127.0.0.1:3000/count_primes?below=1000000'`
//!
//! * Each request has a deadline (SECONDS, or 2), waiting in line included: `504 Gateway Timeout`, and its worker is killed.
//! * A client that goes away cancels its request: its worker is killed.
//! * More requests than may wait are refused: `503 Service Unavailable`.
//! * `/status` answers whatever the workers do. Ctrl-C lets what was accepted finish.

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::{Router, routing::get};
use procpool::{OnCancel, ProcessPoolExecutor, TaskError, TaskErrorKind, TaskOptions, task};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Requests that may run or wait in line.
const MAX_PENDING: usize = 64;

#[task]
fn count_primes(below: u64) -> usize {
    (2..below).filter(|n| (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor))).count()
}

#[derive(Clone)]
struct Service {
    pool: ProcessPoolExecutor,
    deadline: Duration,
}

#[derive(serde::Deserialize)]
struct Range {
    below: u64,
}

/// Whoever loses interest drops the task's future, and the pool kills the worker: the timeout does so, and when
/// the client goes away, axum does so with all of this.
async fn answer(
    State(Service { pool, deadline }): State<Service>,
    Query(Range { below }): Query<Range>,
) -> Result<String, (StatusCode, String)> {
    match tokio::time::timeout(deadline, pool.submit(count_primes, below)).await {
        Ok(count) => Ok(format!("{}\n", count.map_err(refusal)?)),
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, format!("no answer within {deadline:?}\n"))),
    }
}

fn refusal(error: TaskError) -> (StatusCode, String) {
    let status = match error.kind() {
        TaskErrorKind::Full { .. } | TaskErrorKind::PoolClosed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n"))
}

async fn status(State(Service { pool, .. }): State<Service>) -> String {
    format!("pending: {}\nworkers: {:?}\n", pool.pending(), pool.worker_pids())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().map_or(Ok(3000), |port| port.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(2), |seconds| seconds.parse())?;

    let options = TaskOptions::new().on_cancel(OnCancel::Kill);
    let pool = ProcessPoolExecutor::builder().max_pending(MAX_PENDING).task_options(options).build()?;
    let service = Service { pool: pool.clone(), deadline: Duration::from_secs(seconds) };
    let routes =
        Router::new().route("/count_primes", get(answer)).route("/status", get(status)).with_state(service);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // Before anybody can know that we listen: `ctrl_c()` would catch nothing until it is polled.
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("listening on http://{}", listener.local_addr()?);
    let interrupted = async move {
        interrupt.recv().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(interrupted).await?;

    let report = pool.shutdown(true).await;
    println!("stopped; {} tasks were killed for their deadline or their client", report.killed);
    Ok(())
}
