//! Which of several servers does the work of a catalog: a document that one of them renews. It keeps them
//! from doing the same in vain; what is published once is decided by the commits.

use std::collections::BTreeMap;

use auric_catalog::TableIdent;
use auric_catalog::backend::document::{DocumentChange, DocumentKey};
use auric_catalog::registry::Catalog;
use chrono::{DateTime, TimeDelta, Utc};

use super::super::json;
use crate::error::Result;

/// Whether a server may begin runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    Held {
        until: DateTime<Utc>,
    },
    /// Another server has it until then.
    Elsewhere {
        until: DateTime<Utc>,
    },
}

fn key() -> DocumentKey {
    DocumentKey::new("lease", TableIdent::new("", "scheduler"))
}

fn read(text: &str) -> Option<(String, DateTime<Utc>)> {
    let members: BTreeMap<String, &str> = json::members(text).ok()?.into_iter().collect();
    let holder = json::text(members.get("holder")?).ok()??;
    Some((holder, DateTime::from_timestamp_millis(members.get("until")?.parse().ok()?)?))
}

/// Takes the lease or renews it, unless another server has it. A catalog that keeps no documents has none:
/// everybody holds it.
pub async fn take(catalog: &Catalog, holder: &str, now: DateTime<Utc>, length: TimeDelta) -> Result<Lease> {
    let expected = catalog.backend().document(&key()).await?;
    if let Some((other, until)) = expected.as_deref().and_then(read)
        && other != holder
        // One from far ahead is of a clock that was wrong.
        && (now..now + length * 10).contains(&until)
    {
        return Ok(Lease::Elsewhere { until });
    }
    let until = now + length;
    let members = [("holder", json::string(holder)), ("until", until.timestamp_millis().to_string())];
    let change = DocumentChange { key: key(), expected, new: Some(json::object(members)) };
    match catalog.backend().swap_document(&change).await {
        Ok(true) | Err(auric_catalog::Error::Unsupported { .. }) => Ok(Lease::Held { until }),
        // Another one was faster.
        Ok(false) => Ok(Lease::Elsewhere { until: now + length / 2 }),
        Err(e) => Err(e.into()),
    }
}

/// Gives it back, if it is ours.
pub async fn give_back(catalog: &Catalog, holder: &str) -> Result<()> {
    let Some(text) = catalog.backend().document(&key()).await? else { return Ok(()) };
    if read(&text).is_some_and(|(other, _)| other == holder) {
        let change = DocumentChange { key: key(), expected: Some(text), new: None };
        catalog.backend().swap_document(&change).await?;
    }
    Ok(())
}
