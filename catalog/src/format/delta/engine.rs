//! The kernel's engine over our object stores, and its errors in our terms.
//!
//! Invariant: the kernel blocks, so every call into it runs inside [`blocking`], never on a thread
//! that drives futures.

use std::sync::Arc;

use delta_kernel::object_store::DynObjectStore;
use delta_kernel::{Engine, KernelError, KernelResult};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::LOG_DIRECTORY;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Runs `work` with an engine for the table at `root`, on a thread that may block.
pub(super) async fn blocking<T, F>(storage: &Storage, root: &str, work: F) -> Result<T>
where
    F: FnOnce(&dyn Engine) -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    let store = storage.locate(root)?.store;
    let handle = Handle::current();
    let joined = tokio::task::spawn_blocking(move || {
        let engine = engine(store, handle)?;
        work(engine.as_ref())
    });
    match joined.await {
        Ok(result) => result,
        Err(e) => Err(Error::Internal(format!("reading the Delta log of {root} failed: {e}"))),
    }
}

/// I/O runs on the caller's runtime. The kernel's executor needs a multi-threaded one; below a
/// single-threaded runtime it gets its own for the duration of the call.
fn engine(store: Arc<DynObjectStore>, handle: Handle) -> Result<Arc<dyn Engine>> {
    let executor = match handle.runtime_flavor() {
        RuntimeFlavor::MultiThread => TokioMultiThreadExecutor::new(handle),
        _ => TokioMultiThreadExecutor::new_owned_runtime(Some(1), None)
            .map_err(|e| Error::Internal(e.to_string()))?,
    };
    Ok(Arc::new(DefaultEngineBuilder::new(store).with_task_executor(Arc::new(executor)).build()))
}

/// Adds the table to a kernel result.
pub(super) trait InTable<T> {
    fn in_table(self, root: &str) -> Result<T>;
}

impl<T> InTable<T> for KernelResult<T> {
    fn in_table(self, root: &str) -> Result<T> {
        self.map_err(|e| kernel_error(root, e))
    }
}

/// A kernel error about the table at `root`. What is neither a refused feature nor a failed access
/// is a log that breaks the protocol.
fn kernel_error(root: &str, error: KernelError) -> Error {
    let log = format!("{root}/{LOG_DIRECTORY}");
    match error {
        KernelError::Backtraced { source, .. } => kernel_error(root, *source),
        KernelError::Unsupported(message) => {
            Error::unsupported(format!("Delta table {root}"), refused(&message))
        }
        KernelError::FileNotFound(path) => {
            Error::corrupt(path, "the Delta log refers to it, but it does not exist")
        }
        KernelError::ObjectStore(e) => Error::storage(log, e),
        KernelError::ObjectStorePath(e) => Error::storage(log, e),
        KernelError::IOError(e) => Error::storage(log, e),
        KernelError::JoinFailure(e) | KernelError::InternalError(e) => Error::Internal(e),
        other => Error::corrupt(log, other),
    }
}

/// The kernel says `Feature 'x' is not supported`; our error has a sentence of its own around the
/// feature.
fn refused(message: &str) -> String {
    match message.strip_prefix("Feature '").and_then(|rest| rest.split_once('\'')) {
        Some((feature, _)) => format!("the table feature \"{feature}\""),
        None => message.to_string(),
    }
}
