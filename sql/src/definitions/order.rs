//! The order in which definitions can be made: each after what it is made of, else as they were read.

use super::Located;
use super::read::Item;
use crate::error::{Error, Result, SqlState};

/// Fails with 42P17 for definitions that are made of each other.
pub(super) fn by_use(mut waiting: Vec<Item>) -> Result<Vec<Item>, Located> {
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |item: &Item| waiting.iter().any(|other| item.uses.contains(&other.key));
        let Some(next) = waiting.iter().position(|item| !waits(item)) else {
            return Err(cycle(&waiting));
        };
        ordered.push(waiting.remove(next));
    }
    Ok(ordered)
}

/// Of those that wait, each for another one, one that waits for itself in the end.
fn cycle(waiting: &[Item]) -> Located {
    let mut path: Vec<&Item> = waiting.first().into_iter().collect();
    while let Some(last) = path.last() {
        let Some(next) = waiting.iter().find(|other| last.uses.contains(&other.key)) else { break };
        if let Some(begin) = path.iter().position(|item| item.key == next.key) {
            path.drain(..begin);
            break;
        }
        path.push(next);
    }
    let keys: Vec<String> = path.iter().map(|item| item.key.to_string()).collect();
    let message = format!("definitions are made of each other: {}", keys.join(", "));
    let error = Error::new(SqlState::INVALID_OBJECT_DEFINITION, message);
    let (file, line) = path.first().map(|item| (item.file.clone(), item.line)).unwrap_or_default();
    Located { file, line, error: error.into() }
}
