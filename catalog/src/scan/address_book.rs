//! Numbers for the data files of a statement's target, so that each row can carry its address.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use crate::error::{Error, Result};
use crate::table::LiveFile;

/// Files by number, in the order in which scans came across them; shared by the provider whose scans
/// give out the numbers and whoever gets the rows back. A file has one number, however often it is
/// scanned.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Entry>,
    numbers: HashMap<String, i32>,
    filters: Vec<Vec<Expr>>,
    /// Conditions that all of the rows satisfy that the statement deletes, if it does nothing else.
    condition: Option<Vec<Expr>>,
    whole: BTreeMap<String, Arc<LiveFile>>,
}

#[derive(Debug)]
struct Entry {
    file: Arc<LiveFile>,
    deleted: Option<Arc<RoaringTreemap>>,
}

impl AddressBook {
    /// The file with this number. `None`: no scan gave out the number.
    pub fn file(&self, number: i32) -> Option<Arc<LiveFile>> {
        self.entry(number, |entry| entry.file.clone())
    }

    /// Positions of the file that vectors and position delete files had deleted already. `None`: none.
    pub fn deleted_before(&self, number: i32) -> Option<Arc<RoaringTreemap>> {
        self.entry(number, |entry| entry.deleted.clone()).flatten()
    }

    /// The filters that each scan was given: together, what was read of the table. A scan without
    /// filters read all of it.
    pub fn filters(&self) -> Vec<Vec<Expr>> {
        self.state.lock().filters.clone()
    }

    /// Says that the statement deletes the rows for which all of `condition` is true, and does nothing
    /// else: scans that are planned from now on leave out files all of whose rows go.
    pub fn delete_where(&self, condition: Vec<Expr>) {
        self.state.lock().condition = Some(condition);
    }

    pub(super) fn condition(&self) -> Option<Vec<Expr>> {
        self.state.lock().condition.clone()
    }

    pub(super) fn note_whole(&self, files: Vec<LiveFile>) {
        let files = files.into_iter().map(|file| (file.path().to_string(), Arc::new(file)));
        self.state.lock().whole.extend(files);
    }

    /// The files that scans have left out because all of their rows go, by path.
    pub fn whole_files(&self) -> Vec<Arc<LiveFile>> {
        self.state.lock().whole.values().cloned().collect()
    }

    /// How many files have a number: those that pruning left, over all scans.
    pub fn files_scanned(&self) -> usize {
        self.state.lock().files.len()
    }

    pub(super) fn note_filters(&self, filters: &[Expr]) {
        self.state.lock().filters.push(filters.to_vec());
    }

    /// The number of a file.
    pub(super) fn register(&self, file: LiveFile, deleted: Option<Arc<RoaringTreemap>>) -> Result<i32> {
        let mut state = self.state.lock();
        if let Some(number) = state.numbers.get(file.path()) {
            return Ok(*number);
        }
        let number = i32::try_from(state.files.len())
            .map_err(|_| Error::Internal("more files than there are numbers".into()))?;
        state.numbers.insert(file.path().to_string(), number);
        state.files.push(Entry { file: Arc::new(file), deleted });
        Ok(number)
    }

    fn entry<T>(&self, number: i32, get: impl FnOnce(&Entry) -> T) -> Option<T> {
        let state = self.state.lock();
        usize::try_from(number).ok().and_then(|i| state.files.get(i)).map(get)
    }
}
