//! Documents and the journal, in two tables of ours.

use sqlx::Row;

use super::SqlBackend;
use super::database::{Driver, Write, is_constraint_violation};
use super::tables::run;
use crate::TableIdent;
use crate::backend::document::{Document, DocumentChange, DocumentKey, JournalEntry};
use crate::error::Result;

pub const DOCUMENTS: &str = "CREATE TABLE IF NOT EXISTS auric_documents (
    catalog_name VARCHAR(255) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    document_namespace VARCHAR(255) NOT NULL,
    document_name VARCHAR(255) NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (catalog_name, kind, document_namespace, document_name))";

pub const JOURNAL: &str = "CREATE TABLE IF NOT EXISTS auric_journal (
    catalog_name VARCHAR(255) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    document_namespace VARCHAR(255) NOT NULL,
    document_name VARCHAR(255) NOT NULL,
    entry_id VARCHAR(255) NOT NULL,
    recorded_at BIGINT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (catalog_name, kind, document_namespace, document_name, entry_id))";

const LIST: &str = "SELECT document_namespace, document_name, document FROM auric_documents \
     WHERE catalog_name = $1 AND kind = $2 ORDER BY document_namespace, document_name";
const FIND: &str = "SELECT document FROM auric_documents \
     WHERE catalog_name = $1 AND kind = $2 AND document_namespace = $3 AND document_name = $4";
const INSERT: &str = "INSERT INTO auric_documents \
     (catalog_name, kind, document_namespace, document_name, document) VALUES ($1, $2, $3, $4, $5)";
const UPDATE: &str = "UPDATE auric_documents SET document = $6 WHERE catalog_name = $1 AND kind = $2 \
     AND document_namespace = $3 AND document_name = $4 AND document = $5";
const DELETE: &str = "DELETE FROM auric_documents WHERE catalog_name = $1 AND kind = $2 \
     AND document_namespace = $3 AND document_name = $4 AND document = $5";
const DELETE_ALL_IN: &str = "DELETE FROM auric_documents WHERE catalog_name = $1 AND document_namespace = $2";
const DELETE_JOURNAL_IN: &str =
    "DELETE FROM auric_journal WHERE catalog_name = $1 AND document_namespace = $2";
const HAS: &str = "SELECT 1 FROM auric_documents \
     WHERE catalog_name = $1 AND kind = $2 AND document_namespace = $3 LIMIT 1";

const ENTRIES: &str = "SELECT document_namespace, document_name, entry_id, recorded_at, entry \
     FROM auric_journal WHERE catalog_name = $1 AND kind = $2 ORDER BY recorded_at, entry_id";
const DELETE_ENTRY: &str = "DELETE FROM auric_journal WHERE catalog_name = $1 AND kind = $2 \
     AND document_namespace = $3 AND document_name = $4 AND entry_id = $5";
const INSERT_ENTRY: &str = "INSERT INTO auric_journal \
     (catalog_name, kind, document_namespace, document_name, entry_id, entry, recorded_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// The time of the oldest entry that is kept.
const OLDEST_KEPT: &str = "SELECT MIN(kept.recorded_at) FROM (SELECT recorded_at FROM auric_journal \
     WHERE catalog_name = $1 AND kind = $2 AND document_namespace = $3 AND document_name = $4 \
     ORDER BY recorded_at DESC LIMIT $5) kept";
const DELETE_OLDER: &str = "DELETE FROM auric_journal WHERE catalog_name = $1 AND kind = $2 \
     AND document_namespace = $3 AND document_name = $4 AND recorded_at < $5";

/// Makes the change. `false`: what is there is not what was expected.
pub async fn swap(t: &mut Write, catalog: &str, change: &DocumentChange) -> sqlx::Result<bool> {
    let DocumentKey { kind, ident } = &change.key;
    let key = [catalog, kind, &ident.namespace, &ident.name];
    match (&change.expected, &change.new) {
        (None, None) => {
            let found = find(FIND, &key).fetch_optional(&mut **t).await?;
            Ok(found.is_none())
        }
        (None, Some(new)) => {
            // An INSERT that is refused would end the transaction in some databases.
            if find(FIND, &key).fetch_optional(&mut **t).await?.is_some() {
                return Ok(false);
            }
            let [catalog, kind, namespace, name] = key;
            Ok(run(t, INSERT, &[catalog, kind, namespace, name, new]).await? > 0)
        }
        (Some(expected), Some(new)) => {
            let [catalog, kind, namespace, name] = key;
            Ok(run(t, UPDATE, &[catalog, kind, namespace, name, expected, new]).await? > 0)
        }
        (Some(expected), None) => {
            let [catalog, kind, namespace, name] = key;
            Ok(run(t, DELETE, &[catalog, kind, namespace, name, expected]).await? > 0)
        }
    }
}

/// Whether a namespace has documents of a kind.
pub async fn has(t: &mut Write, catalog: &str, kind: &str, namespace: &str) -> sqlx::Result<bool> {
    Ok(find(HAS, &[catalog, kind, namespace]).fetch_optional(&mut **t).await?.is_some())
}

/// Forgets everything in a namespace.
pub async fn delete_all_in(t: &mut Write, catalog: &str, namespace: &str) -> sqlx::Result<()> {
    run(t, DELETE_ALL_IN, &[catalog, namespace]).await?;
    run(t, DELETE_JOURNAL_IN, &[catalog, namespace]).await.map(|_| ())
}

type Query = sqlx::query::Query<'static, Driver, <Driver as sqlx::Database>::Arguments>;

fn find(statement: &'static str, values: &[&str]) -> Query {
    values.iter().fold(sqlx::query::<Driver>(statement), |query, value| query.bind((*value).to_string()))
}

impl SqlBackend {
    pub(super) async fn list_documents(&self, kind: &str) -> Result<Vec<Document>> {
        let query = || find(LIST, &[&self.catalog, kind]);
        let rows = self.database.read(|pool| query().fetch_all(pool)).await?;
        let read = rows.iter().map(|row| {
            let ident = TableIdent::new(row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?);
            Ok(Document { key: DocumentKey::new(kind, ident), text: row.try_get(2)? })
        });
        read.collect::<sqlx::Result<_>>().map_err(|e| self.error(e))
    }

    pub(super) async fn find_document(&self, key: &DocumentKey) -> Result<Option<String>> {
        let DocumentKey { kind, ident } = key;
        let query = || find(FIND, &[&self.catalog, kind, &ident.namespace, &ident.name]);
        let row = self.database.read(|pool| query().fetch_optional(pool)).await?;
        row.map(|row| row.try_get(0)).transpose().map_err(|e| self.error(e))
    }

    /// `None`: what is there is not what was expected.
    pub(super) async fn with_document(&self, change: &DocumentChange) -> Result<Option<Write>> {
        // A swap is right by itself; what is new may be what keeps its schema from being dropped.
        let mut t = match &change.expected {
            Some(_) => self.database.write_beside_others().await?,
            None => self.database.write().await?,
        };
        match swap(&mut t, &self.catalog, change).await {
            Ok(swapped) => Ok(Some(t).filter(|_| swapped)),
            // Somebody else was faster.
            Err(e) if is_constraint_violation(&e) => Ok(None),
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) async fn read_journal(&self, kind: &str) -> Result<Vec<JournalEntry>> {
        let query = || find(ENTRIES, &[&self.catalog, kind]);
        let rows = self.database.read(|pool| query().fetch_all(pool)).await?;
        let read = rows.iter().map(|row| {
            let ident = TableIdent::new(row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?);
            let key = DocumentKey::new(kind, ident);
            Ok(JournalEntry { key, id: row.try_get(2)?, at: row.try_get(3)?, text: row.try_get(4)? })
        });
        read.collect::<sqlx::Result<_>>().map_err(|e| self.error(e))
    }

    pub(super) async fn with_entry(&self, entry: &JournalEntry, keep: u32) -> Result<Write> {
        let mut t = self.database.write().await?;
        self.add_entry(&mut t, entry, keep).await.map_err(|e| self.error(e))?;
        Ok(t)
    }

    async fn add_entry(&self, t: &mut Write, entry: &JournalEntry, keep: u32) -> sqlx::Result<()> {
        let JournalEntry { key: DocumentKey { kind, ident }, id, at, text } = entry;
        let key = [&*self.catalog, kind, &ident.namespace, &ident.name];
        let [catalog, kind, namespace, name] = key;
        run(t, DELETE_ENTRY, &[catalog, kind, namespace, name, id]).await?;
        let insert = find(INSERT_ENTRY, &[catalog, kind, namespace, name, id, text]).bind(*at);
        insert.execute(&mut **t).await?;
        let oldest = find(OLDEST_KEPT, &key).bind(i64::from(keep));
        let oldest: Option<i64> = oldest.fetch_one(&mut **t).await?.try_get(0)?;
        if let Some(oldest) = oldest {
            find(DELETE_OLDER, &key).bind(oldest).execute(&mut **t).await?;
        }
        Ok(())
    }
}
