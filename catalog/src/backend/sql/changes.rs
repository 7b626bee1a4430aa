//! Several changes of entries in one transaction of the database.

use super::database::{Driver, Write, is_constraint_violation};
use super::{documents, namespaces};
use super::{tables, views};
use crate::TableIdent;
use crate::backend::Oid;
use crate::backend::change::{Entry, EntryChange};
use crate::backend::document::TASK;
use crate::error::Error;

const HAS_OID: &str = "SELECT 1 FROM auric_oids WHERE catalog_name = $1 AND kind = 'table' \
     AND table_namespace = $2 AND table_name = $3 AND oid = $4";
const INSERT_OID: &str = "INSERT INTO auric_oids (catalog_name, kind, table_namespace, table_name, oid) \
     VALUES ($1, $2, $3, $4, $5)";
const RESERVE: &str = "INSERT INTO auric_oids (catalog_name, kind, table_namespace, table_name) \
     VALUES ($1, 'reserved', $2, '') RETURNING oid";
const FORGET_RESERVED: &str = "DELETE FROM auric_oids WHERE catalog_name = $1 AND kind = 'reserved'";

/// Why none of the changes is made.
#[derive(Debug)]
pub enum Refused {
    /// The change of this number found something else than it expected.
    Lost(usize),
    Certainly(Error),
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(e: sqlx::Error) -> Self {
        Self::Database(e)
    }
}

/// What the changes are made in.
pub struct Changes<'a> {
    pub t: &'a mut Write,
    pub catalog: &'a str,
    /// The layout knows views.
    pub typed: bool,
}

impl Changes<'_> {
    /// Makes all of them. First everything leaves its old name, so that renamed tables can change places.
    pub async fn apply(&mut self, changes: &[EntryChange]) -> Result<(), Refused> {
        // Swaps go by the names of before.
        let numbered = || changes.iter().enumerate();
        let is_swap = |change: &EntryChange| matches!(change, EntryChange::Swap { .. });
        let swaps = numbered().filter(|(_, change)| is_swap(change));
        for (number, change) in swaps.chain(numbered().filter(|(_, change)| !is_swap(change))) {
            if !self.take_away(change).await? {
                return Err(Refused::Lost(number));
            }
        }
        for change in changes {
            self.change_namespace(change).await?;
        }
        for change in changes {
            self.put(change).await?;
        }
        for change in changes {
            if let EntryChange::DropNamespace { name } = change {
                self.drop_namespace(name).await?;
            }
        }
        Ok(())
    }

    /// `false`: it is not there, or not what it was.
    async fn take_away(&mut self, change: &EntryChange) -> Result<bool, Refused> {
        match change {
            EntryChange::Swap { ident, expected, new } => {
                let values = [self.catalog, &ident.namespace, &ident.name, expected, new];
                Ok(tables::run(self.t, tables::SWAP, &values).await? > 0)
            }
            EntryChange::Drop { ident, oid } => {
                if !self.is(ident, *oid).await? {
                    return Ok(false);
                }
                let values = [self.catalog, &ident.namespace, &ident.name];
                let gone = tables::delete(self.t, self.catalog, self.typed, ident).await?
                    || (self.typed && tables::run(self.t, views::DELETE, &values).await? > 0);
                self.keep_namespace(&ident.namespace).await?;
                Ok(gone)
            }
            EntryChange::Rename { from, oid, .. } => {
                if !self.is(from, *oid).await? {
                    return Ok(false);
                }
                let gone = self.rename(from, &between_names(from, *oid)).await?;
                self.keep_namespace(&from.namespace).await?;
                Ok(gone)
            }
            EntryChange::Document(change) => Ok(documents::swap(self.t, self.catalog, change).await?),
            EntryChange::DropNamespace { name } => Ok(namespaces::exists(self.t, self.catalog, name).await?),
            EntryChange::Insert(_)
            | EntryChange::CreateNamespace(_)
            | EntryChange::ReplaceNamespace(_)
            | EntryChange::SetNamespaceProperty { .. } => Ok(true),
        }
    }

    async fn change_namespace(&mut self, change: &EntryChange) -> Result<(), Refused> {
        match change {
            EntryChange::CreateNamespace(entry) => {
                if namespaces::exists(self.t, self.catalog, &entry.name).await? {
                    return Err(Refused::Certainly(Error::NamespaceExists(entry.name.clone())));
                }
            }
            EntryChange::ReplaceNamespace(_) => {}
            EntryChange::SetNamespaceProperty { name, key, value } => {
                self.require_namespace(name).await?;
                let set = namespaces::set_property(self.t, self.catalog, name, key, value.as_deref());
                return Ok(set.await?);
            }
            EntryChange::Swap { .. }
            | EntryChange::Drop { .. }
            | EntryChange::Rename { .. }
            | EntryChange::Insert(_)
            | EntryChange::Document(_)
            | EntryChange::DropNamespace { .. } => return Ok(()),
        }
        if let EntryChange::CreateNamespace(entry) | EntryChange::ReplaceNamespace(entry) = change {
            namespaces::delete(self.t, self.catalog, &entry.name).await?;
            self.give_oid("namespace", &TableIdent::new(&entry.name, ""), entry.oid).await?;
            namespaces::insert_properties(self.t, self.catalog, &entry.name, &entry.properties).await?;
        }
        Ok(())
    }

    async fn put(&mut self, change: &EntryChange) -> Result<(), Refused> {
        let put = match change {
            EntryChange::Rename { from, to, oid } => {
                self.require_place(to).await?;
                self.rename(&between_names(from, *oid), to).await.map(|_| to)
            }
            EntryChange::Insert(entry) => {
                self.require_place(entry.ident()).await?;
                self.insert(entry).await.map(|()| entry.ident())
            }
            EntryChange::Swap { .. }
            | EntryChange::Drop { .. }
            | EntryChange::CreateNamespace(_)
            | EntryChange::ReplaceNamespace(_)
            | EntryChange::SetNamespaceProperty { .. }
            | EntryChange::Document(_)
            | EntryChange::DropNamespace { .. } => return Ok(()),
        };
        match put {
            Ok(_) => Ok(()),
            Err(e) if is_constraint_violation(&e) => {
                let taken = match change {
                    EntryChange::Rename { to, .. } => to.clone(),
                    EntryChange::Insert(entry) => entry.ident().clone(),
                    _ => return Err(e.into()),
                };
                Err(Refused::Certainly(Error::TableExists(taken)))
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn insert(&mut self, entry: &Entry) -> sqlx::Result<()> {
        let TableIdent { namespace, name } = entry.ident();
        tables::forget(self.t, self.catalog, entry.ident()).await?;
        self.give_oid("table", entry.ident(), entry.oid()).await?;
        let (statement, external) = match entry {
            Entry::Table(table) => (tables::insert_statement(table.format, self.typed), table.external),
            Entry::View(_) => (views::INSERT, false),
        };
        tables::run(self.t, statement, &[self.catalog, namespace, name, entry.pointer()]).await?;
        if external {
            tables::run(self.t, tables::INSERT_EXTERNAL, &[self.catalog, namespace, name]).await?;
        }
        Ok(())
    }

    async fn rename(&mut self, from: &TableIdent, to: &TableIdent) -> sqlx::Result<bool> {
        let values = [self.catalog, &from.namespace, &from.name, &to.namespace, &to.name];
        Ok(tables::rename(self.t, self.catalog, self.typed, from, to).await?
            || (self.typed && tables::run(self.t, views::RENAME, &values).await? > 0))
    }

    async fn drop_namespace(&mut self, name: &str) -> Result<(), Refused> {
        if namespaces::has_tables(self.t, self.catalog, name).await?
            || documents::has(self.t, self.catalog, TASK, name).await?
        {
            return Err(Refused::Certainly(Error::NamespaceNotEmpty(name.to_string())));
        }
        documents::delete_all_in(self.t, self.catalog, name).await?;
        Ok(namespaces::delete(self.t, self.catalog, name).await?)
    }

    async fn require_place(&mut self, ident: &TableIdent) -> Result<(), Refused> {
        self.require_namespace(&ident.namespace).await?;
        match tables::name_is_taken(self.t, self.catalog, ident).await? {
            false => Ok(()),
            true => Err(Refused::Certainly(Error::TableExists(ident.clone()))),
        }
    }

    async fn require_namespace(&mut self, name: &str) -> Result<(), Refused> {
        match namespaces::exists(self.t, self.catalog, name).await? {
            true => Ok(()),
            false => Err(Refused::Certainly(Error::NamespaceNotFound(name.to_string()))),
        }
    }

    async fn keep_namespace(&mut self, name: &str) -> sqlx::Result<()> {
        match namespaces::exists(self.t, self.catalog, name).await? {
            true => Ok(()),
            false => namespaces::keep(self.t, self.catalog, name).await,
        }
    }

    /// Whether the table or view of this name is still the one with this OID.
    async fn is(&mut self, ident: &TableIdent, oid: Oid) -> sqlx::Result<bool> {
        let found = sqlx::query::<Driver>(HAS_OID)
            .bind(self.catalog)
            .bind(&ident.namespace)
            .bind(&ident.name)
            .bind(i64::from(oid))
            .fetch_optional(&mut **self.t)
            .await?;
        Ok(found.is_some())
    }

    async fn give_oid(&mut self, kind: &str, ident: &TableIdent, oid: Oid) -> sqlx::Result<()> {
        if kind == "table" {
            let values = [self.catalog, &ident.namespace, &ident.name];
            tables::run(self.t, tables::DELETE_OID, &values).await?;
        }
        sqlx::query::<Driver>(INSERT_OID)
            .bind(self.catalog)
            .bind(kind)
            .bind(&ident.namespace)
            .bind(&ident.name)
            .bind(i64::from(oid))
            .execute(&mut **self.t)
            .await?;
        Ok(())
    }
}

/// The name of a table or view that has left its old name and has not yet got its new one.
fn between_names(from: &TableIdent, oid: Oid) -> TableIdent {
    TableIdent::new(&from.namespace, format!("\u{1}{oid}"))
}

/// A number that is never given out again, to whatever becomes of it.
pub async fn reserve_oid(t: &mut Write, catalog: &str) -> sqlx::Result<i64> {
    let id = uuid::Uuid::new_v4().to_string();
    let oid = sqlx::query_scalar::<Driver, i64>(RESERVE).bind(catalog).bind(id).fetch_one(&mut **t).await?;
    tables::run(t, FORGET_RESERVED, &[catalog]).await?;
    Ok(oid)
}
