//! The three pools of threads, and the one way to start a task.
//!
//! * `io`: sockets, timers, HTTP, and statements that are answered without a plan. Nothing here may
//!   compute for longer than a millisecond.
//! * `plan`: parsing and planning, and queries of the system catalog alone.
//! * `query`: execution of plans; the tasks that DataFusion starts stay on it.
//!
//! A heavy query saturates `query` only, so new connections, health checks and short statements never
//! wait for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

/// Handles of the pools.
#[derive(Debug, Clone)]
pub struct Runtimes {
    pub io: Handle,
    pub plan: Handle,
    pub query: Handle,
}

/// Expression trees are walked and dropped recursively.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Builds a pool. `nice`: scheduling priority given up by its threads (0 to 19).
pub fn build(name: &'static str, threads: usize, nice: i32) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        // New work is looked for after every task: a statement must not wait behind a plan's tasks.
        .global_queue_interval(1)
        .on_thread_start(move || crate::os::lower_thread_priority(nice))
        .enable_all()
        .build()
}

/// Starts a task. `name` shows in logs.
pub fn spawn<F>(handle: &Handle, name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    handle.spawn(future.instrument(tracing::debug_span!("task", name)))
}

/// A task that stops when this is dropped.
#[derive(Debug)]
pub struct Scoped<T>(JoinHandle<T>);

/// Starts a task that stops when what is returned is dropped.
pub fn scoped<F>(handle: &Handle, name: &'static str, future: F) -> Scoped<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Scoped(spawn(handle, name, future))
}

impl<T> Scoped<T> {
    /// Its result is there, or was already taken.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Drop for Scoped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Scoped<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
