//! The directory of temporary tables: of this process alone, and gone with it. What a killed process
//! has left is removed by the next one that starts with the same data directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Below the data directory.
const ROOT: &str = "temporary";
/// A process holds this file's lock as long as it uses the directory beside it.
const LOCK: &str = "lock";
/// Processes that share a data directory and have the same number (in containers).
const MAX_NAMESAKES: u32 = 1_000;

/// A directory that no other process uses. Dropping it removes it.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl TemporaryDirectory {
    /// Makes one below `data_dir`, and removes those that are not used any more.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let root = data_dir.join(ROOT);
        std::fs::create_dir_all(&root)?;
        let root = root.canonicalize()?;
        for entry in std::fs::read_dir(&root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == LOCK)
                && let Some(_lock) = locked(&path)?
            {
                remove(&path.with_extension(""), &path);
            }
        }
        for namesake in 0..MAX_NAMESAKES {
            let path = root.join(format!("{}-{namesake}", std::process::id()));
            let lock_path = path.with_extension(LOCK);
            if let Some(lock) = locked(&lock_path)? {
                return Ok(Self { path, lock_path, _lock: lock });
            }
        }
        Err(io::Error::other("too many processes use it"))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        remove(&self.path, &self.lock_path);
    }
}

/// The lock of a file that is made if it is missing. `None`: another process has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Removes a directory and, after it, its lock: whoever finds a directory finds its lock too.
fn remove(directory: &Path, lock: &Path) {
    let removed = match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => std::fs::remove_file(lock),
    };
    if let Err(error) = removed {
        tracing::warn!(directory = %directory.display(), %error, "could not remove temporary tables");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_uses_is_removed() {
        let data = std::env::temp_dir().join(format!("auric-temporary-{}", std::process::id()));
        let stale = data.join(ROOT).join("1-0");
        std::fs::create_dir_all(&stale).unwrap();
        std::fs::write(stale.with_extension(LOCK), "").unwrap();
        let one = TemporaryDirectory::open(&data).unwrap();
        assert!(!stale.exists() && !stale.with_extension(LOCK).exists());
        std::fs::create_dir(one.path()).unwrap();
        let two = TemporaryDirectory::open(&data).unwrap();
        assert_ne!(one.path(), two.path());
        assert!(one.path().exists());
        let path = one.path().to_path_buf();
        drop(one);
        assert!(!path.exists());
        drop(two);
        assert_eq!(std::fs::read_dir(data.join(ROOT)).unwrap().count(), 0);
        std::fs::remove_dir_all(&data).unwrap();
    }
}
