//! Whether anything was committed to a SQLite file, without a query.
//!
//! In the mode of the write-ahead log, each commit changes the header of the index that all connections
//! share in memory, the file `…-shm` (<https://sqlite.org/walformat.html>, section 2.1): its counter of
//! transactions, the number of the last frame, checksums. SQLite itself begins each transaction by looking
//! there. Reading it takes a few microseconds; to compare it with what it was before is all that is done
//! with it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::super::ChangeToken;

/// Bytes of the header, of which there are two copies, one after the other.
const HEADER: usize = 48;
/// Of a header that is in use, this byte is not 0.
const IS_INITIALIZED: usize = 12;

/// Files of this process, by device and inode. **They are never closed:** to close one descriptor of a file
/// gives up all locks that the process has on it, and SQLite's locks are on this file
/// (<https://sqlite.org/howtocorrupt.html>, section 2.2).
static FILES: Mutex<Option<HashMap<(u64, u64), &'static File>>> = Mutex::new(None);

/// The index of a database file.
#[derive(Debug)]
pub struct WalIndex {
    path: PathBuf,
    /// The one that was found last.
    last: Mutex<Option<&'static File>>,
}

impl WalIndex {
    pub fn of(database: &Path) -> Self {
        let mut name = database.as_os_str().to_os_string();
        name.push("-shm");
        Self { path: PathBuf::from(name), last: Mutex::default() }
    }

    /// The same as before only if nothing was committed in between. `None`: it cannot be told; a commit is
    /// just being made, or the file is in another mode.
    pub fn token(&self) -> Option<ChangeToken> {
        let mut copies = [0; 2 * HEADER];
        self.file()?.read_exact_at(&mut copies, 0).ok()?;
        let (first, second) = copies.split_at(HEADER);
        let in_use = first.get(IS_INITIALIZED).is_some_and(|byte| *byte != 0);
        (in_use && first == second).then(|| ChangeToken(first.into()))
    }

    /// The file of that name, which may be another one than before. A name is looked up only if that which was
    /// found last is gone, as an open file is found without a walk through directories.
    fn file(&self) -> Option<&'static File> {
        let mut last = self.last.lock();
        let is_there = |file: &&'static File| file.metadata().is_ok_and(|found| found.nlink() > 0);
        if last.as_ref().is_none_or(|file| !is_there(file)) {
            *last = self.find();
        }
        *last
    }

    fn find(&self) -> Option<&'static File> {
        let found = std::fs::metadata(&self.path).ok()?;
        let mut files = FILES.lock();
        let files = files.get_or_insert_default();
        if let Some(file) = files.get(&(found.dev(), found.ino())) {
            return Some(file);
        }
        let opened: &'static File = Box::leak(Box::new(File::open(&self.path).ok()?));
        let opened_is = opened.metadata().ok()?;
        // It may have been replaced in between.
        let known = files.entry((opened_is.dev(), opened_is.ino())).or_insert(opened);
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn every_commit_of_anyone_changes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let index = WalIndex::of(&path);
        assert_eq!(index.token(), None);
        let connect = || SqliteConnection::connect_with(&options);
        let run = async |connection: &mut SqliteConnection, statement: &'static str| {
            sqlx::raw_sql(statement).execute(connection).await.unwrap();
        };
        let mut one = connect().await.unwrap();
        run(&mut one, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)").await;
        let mut other = connect().await.unwrap();
        let mut seen = vec![index.token().unwrap()];
        for number in 0..50 {
            let writer = if number % 2 == 0 { &mut one } else { &mut other };
            let statement = match number % 5 {
                0 => "PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (1)",
                1 => "UPDATE t SET a = a + 1",
                2 => "DELETE FROM t",
                _ => "INSERT INTO t VALUES (2)",
            };
            run(writer, statement).await;
            let token = index.token().unwrap();
            assert!(!seen.contains(&token), "{number}: {statement}");
            assert_eq!(index.token(), Some(token.clone()));
            // Reading, and what is rolled back, changes nothing.
            run(&mut one, "SELECT * FROM t; BEGIN; INSERT INTO t VALUES (3); ROLLBACK").await;
            assert_eq!(index.token(), Some(token.clone()), "{number}");
            seen.push(token);
        }
        // Another database in the same place.
        for file in ["x.db", "x.db-wal", "x.db-shm"] {
            std::fs::remove_file(directory.path().join(file)).unwrap();
        }
        assert_eq!(index.token(), None);
        let mut new = connect().await.unwrap();
        run(&mut new, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)").await;
        let token = index.token().unwrap();
        run(&mut new, "INSERT INTO t VALUES (1)").await;
        assert_ne!(index.token().unwrap(), token);
    }
}
