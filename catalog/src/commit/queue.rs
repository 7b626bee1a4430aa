//! Writers of one table take turns inside this process: racing would only make all but one of them
//! commit again. Writers elsewhere are found out about by the commit itself.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::TableIdent;
use crate::registry::Table;

type Turns = HashMap<(String, TableIdent), Weak<tokio::sync::Mutex<()>>>;

/// Process-wide: several `Catalog` values may stand for one catalog.
static TURNS: LazyLock<Mutex<Turns>> = LazyLock::new(Mutex::default);

/// Forgotten turns are cleared out when there are this many entries.
const SWEEP_AT: usize = 1_024;

/// The turn of a table, which lasts until the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Turn {
    of: (String, TableIdent),
    _guard: Arc<OwnedMutexGuard<()>>,
}

impl Turn {
    pub fn is_of(&self, table: &Table) -> bool {
        self.of.0 == table.catalog.name() && self.of.1 == table.ident
    }
}

/// Waits for the table's turn. First come, first served. Whoever has it commits
/// in it: it does not come twice.
pub async fn turn(table: &Table) -> Turn {
    let key = (table.catalog.name().to_string(), table.ident.clone());
    let of = key.clone();
    let turn = {
        let mut turns = TURNS.lock();
        if turns.len() >= SWEEP_AT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let known = turns.get(&key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::new(tokio::sync::Mutex::new(()));
            turns.insert(key, Arc::downgrade(&turn));
            turn
        })
    };
    Turn { of, _guard: Arc::new(turn.lock_owned().await) }
}
