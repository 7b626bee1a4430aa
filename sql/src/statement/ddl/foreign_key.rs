//! FOREIGN KEY as it is declared: looked at, named as Postgres names it, and kept as a property of the table.
//! Nothing enforces it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use auric_catalog::TableIdent;
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::table::schema::FOREIGN_KEY_PROPERTY;
use auric_catalog::table::{Alteration, PropertyChange, TableSnapshot};

use super::super::not_supported;
use super::constraint::object_name;
use super::dependents::Relation;
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::is_materialized_view;
use crate::parser::Parsed;
use crate::parser::statement::{CreateTable, ForeignKey};
use crate::pg_catalog::foreign_key::{self, StoredKey};
use crate::pg_catalog::types;
use crate::planner::Scope;
use crate::session::Session;

const UNENFORCED: &str = "foreign keys are kept, but nothing enforces them";

/// What of a table its foreign keys and those to it are about.
struct Side {
    /// `None`: of a type that a query gives.
    columns: Vec<(String, Option<DataType>)>,
    key: Vec<String>,
}

impl Side {
    fn of_table(snapshot: &TableSnapshot) -> Self {
        let schema = &snapshot.schema;
        let fields = schema.arrow.fields().iter();
        let keyed = schema.field_ids.iter().zip(schema.arrow.fields());
        let key = keyed.filter(|(id, _)| schema.identifier_field_ids.contains(id));
        Self {
            columns: fields.map(|field| (field.name().clone(), Some(field.data_type().clone()))).collect(),
            key: key.map(|(_, field)| field.name().clone()).collect(),
        }
    }

    fn of_statement(create: &CreateTable) -> Self {
        let data_type = |declared: &Option<Result<DataType>>| declared.clone().and_then(Result::ok);
        let columns = create.columns.iter().map(|column| (column.name.clone(), data_type(&column.data_type)));
        Self { columns: columns.collect(), key: create.key_columns.clone() }
    }

    /// Fails with 42703 for a column that there is not.
    fn types(&self, names: &[String]) -> Result<Vec<Option<DataType>>> {
        let find = |name: &String| {
            let found = self.columns.iter().find(|(column, _)| column == name);
            found.map(|(_, data_type)| data_type.clone()).ok_or_else(|| {
                let message =
                    format!("column \"{name}\" referenced in foreign key constraint does not exist");
                Error::new(SqlState::UNDEFINED_COLUMN, message)
            })
        };
        names.iter().map(find).collect()
    }
}

/// The table that declares foreign keys.
struct Declaring<'a> {
    scope: &'a Scope,
    catalog: &'a Arc<Catalog>,
    ident: &'a TableIdent,
    own: Side,
    /// Names that are taken.
    taken: BTreeSet<String>,
    parsed: &'a Parsed,
}

/// The statement with its foreign keys as properties. Warns of those that are to be enforced.
pub async fn declared<'a>(
    session: &mut Session,
    scope: &Scope,
    (catalog, ident): (&Arc<Catalog>, &TableIdent),
    create: &'a CreateTable,
    parsed: &Parsed,
) -> Result<Cow<'a, CreateTable>> {
    if create.foreign_keys.is_empty() {
        return Ok(Cow::Borrowed(create));
    }
    let named = create.checks.iter().filter_map(|check| check.name.clone()).map(crate::parser::folded);
    let mut taken: BTreeSet<String> = named.collect();
    if !create.key_columns.is_empty() {
        taken.insert(format!("{}_pkey", ident.name));
    }
    let own = Side::of_statement(create);
    let mut declaring = Declaring { scope, catalog, ident, own, taken, parsed };
    let properties = declaring.all(&create.foreign_keys).await?;
    warn(session, &create.foreign_keys);
    let mut create = create.clone();
    create.properties.extend(properties);
    Ok(Cow::Owned(create))
}

/// A foreign key that a table gets.
pub async fn added(
    session: &mut Session,
    scope: &Scope,
    table: &Table,
    key: &ForeignKey,
    parsed: &Parsed,
) -> Result<Alteration> {
    let snapshot = &table.snapshot;
    let contents = table.catalog.table_summaries().await?;
    let tables: Vec<_> = contents.tables().filter_map(|table| table.snapshot.as_ref().ok()).collect();
    // One to a table that is gone gives up its name.
    let is_shown = |key: &StoredKey| tables.iter().any(|table| key.refers_to(snapshot, table));
    let shown = foreign_key::of(&snapshot.properties).filter(|(_, key)| is_shown(key));
    let mut taken: BTreeSet<String> = shown.map(|(name, _)| name.to_string()).collect();
    taken.extend(snapshot.constraints.iter().map(|constraint| constraint.name.clone()));
    if !snapshot.schema.identifier_field_ids.is_empty() {
        taken.insert(format!("{}_pkey", table.ident.name));
    }
    let own = Side::of_table(snapshot);
    let mut declaring = Declaring { scope, catalog: &table.catalog, ident: &table.ident, own, taken, parsed };
    let keys = std::slice::from_ref(key);
    let set = declaring.all(keys).await?.into_iter().collect();
    warn(session, keys);
    Ok(Alteration::Properties(PropertyChange { set, unset: Vec::new() }))
}

/// Takes away a foreign key. `None`: the table has none of that name.
pub fn dropped(table: &Table, name: &str) -> Option<Alteration> {
    let property = format!("{FOREIGN_KEY_PROPERTY}{name}");
    let unset = table.snapshot.properties.contains_key(&property).then(|| vec![property])?;
    Some(Alteration::Properties(PropertyChange { unset, ..PropertyChange::default() }))
}

fn warn(session: &mut Session, keys: &[ForeignKey]) {
    if keys.iter().any(|key| key.enforced) {
        session.warning(SqlState::WARNING, UNENFORCED);
    }
}

impl Declaring<'_> {
    /// Keys and values of properties.
    async fn all(&mut self, keys: &[ForeignKey]) -> Result<Vec<(String, String)>> {
        // A name that is given goes before one that is made.
        for name in keys.iter().filter_map(|key| key.name.as_ref()) {
            if !self.taken.insert(name.clone()) {
                let message =
                    format!("constraint \"{name}\" for relation \"{}\" already exists", self.ident.name);
                return Err(Error::new(SqlState::DUPLICATE_OBJECT, message));
            }
        }
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            let stored = self.one(key).await?;
            let name = match &key.name {
                Some(name) => name.clone(),
                None => self.chosen_name(&key.columns),
            };
            all.push((format!("{FOREIGN_KEY_PROPERTY}{name}"), stored.to_json()));
        }
        Ok(all)
    }

    async fn one(&self, key: &ForeignKey) -> Result<StoredKey> {
        self.own.types(&key.columns)?;
        let (catalog, named) = self.scope.new_table(&key.table)?;
        let is_own = catalog.name() == self.catalog.name() && named == *self.ident;
        let mut stored = StoredKey {
            columns: key.columns.clone(),
            table_id: None,
            schema: self.ident.namespace.clone(),
            table: self.ident.name.clone(),
            on_update: key.on_update,
            on_delete: key.on_delete,
            match_full: key.match_full,
            references: Vec::new(),
        };
        if is_own {
            stored.references = self.references(key, &self.own, &self.ident.name)?;
            return Ok(stored);
        }
        let table = self.scope.table(&key.table, self.parsed).await?;
        self.check_table(&table)?;
        stored.references = self.references(key, &Side::of_table(&table.snapshot), &table.ident.name)?;
        let itself = table.catalog.name() == self.catalog.name() && table.ident == *self.ident;
        stored.table_id = (!itself).then(|| table.snapshot.table_id.clone());
        stored.schema.clone_from(&table.ident.namespace);
        stored.table.clone_from(&table.ident.name);
        Ok(stored)
    }

    /// Fails for what no key of this table can refer to.
    fn check_table(&self, table: &Table) -> Result<()> {
        if is_materialized_view(&table.snapshot.properties) {
            let message = format!("referenced relation \"{}\" is not a table", table.ident.name);
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        if table.catalog.is_temporary() != self.catalog.is_temporary() {
            let kind = if self.catalog.is_temporary() { "temporary" } else { "permanent" };
            let message = format!("constraints on {kind} tables may reference only {kind} tables");
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        match table.catalog.name() == self.catalog.name() {
            true => Ok(()),
            false => Err(not_supported("a foreign key to a table of another database")),
        }
    }

    /// The columns that a key refers to. Fails with 42830 for those that are no key of the table.
    fn references(&self, key: &ForeignKey, side: &Side, table: &str) -> Result<Vec<String>> {
        let invalid = |message: String| Error::new(SqlState::INVALID_FOREIGN_KEY, message);
        let references = match &key.references {
            Some(columns) => columns.clone(),
            None if side.key.is_empty() => {
                let message = format!("there is no primary key for referenced table \"{table}\"");
                return Err(Error::new(SqlState::UNDEFINED_OBJECT, message)
                    .with_hint("Name the columns that it refers to."));
            }
            None => side.key.clone(),
        };
        let referenced = side.types(&references)?;
        if references.len() != key.columns.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return Err(invalid(message.to_string()));
        }
        let distinct: HashSet<&String> = references.iter().collect();
        if distinct.len() != references.len() {
            let message = "foreign key referenced-columns list must not contain duplicates";
            return Err(invalid(message.to_string()));
        }
        // Tables without a declared key may have one all the same: Delta tables can have none.
        if !side.key.is_empty() && distinct != side.key.iter().collect() {
            let message =
                format!("there is no unique constraint matching given keys for referenced table \"{table}\"");
            return Err(invalid(message));
        }
        let own = self.own.types(&key.columns)?;
        for ((name, own), (other_name, other)) in
            key.columns.iter().zip(own).zip(references.iter().zip(referenced))
        {
            if let (Some(own), Some(other)) = (own, other)
                && !are_comparable(&own, &other)
            {
                return Err(self.incomparable(key, (name, &own), (other_name, &other)));
            }
        }
        Ok(references)
    }

    fn incomparable(&self, key: &ForeignKey, own: (&str, &DataType), other: (&str, &DataType)) -> Error {
        let shown = |data_type: &DataType| {
            let (pg_type, _) = crate::types::pg_type(&Field::new("", data_type.clone(), true));
            types::format_type(pg_type.oid(), None)
        };
        let name = key
            .name
            .clone()
            .unwrap_or_else(|| object_name(&self.ident.name, Some(&key.columns.join("_")), "fkey"));
        let message = format!("foreign key constraint \"{name}\" cannot be implemented");
        Error::new(SqlState::DATATYPE_MISMATCH, message).with_detail(format!(
            "Key columns \"{}\" and \"{}\" are of incompatible types: {} and {}.",
            own.0,
            other.0,
            shown(own.1),
            shown(other.1)
        ))
    }

    /// `table_columns_fkey`; a number follows if that is taken.
    fn chosen_name(&mut self, columns: &[String]) -> String {
        let columns = columns.join("_");
        let mut number = 0;
        loop {
            let label = if number == 0 { "fkey".to_string() } else { format!("fkey{number}") };
            let name = object_name(&self.ident.name, Some(&columns), &label);
            if self.taken.insert(name.clone()) {
                return name;
            }
            number += 1;
        }
    }
}

/// Whether Postgres has an equality of the two.
fn are_comparable(one: &DataType, other: &DataType) -> bool {
    let is_time = |t: &DataType| matches!(t, DataType::Date32 | DataType::Timestamp(..));
    let is_bytes =
        |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let both = |is: &dyn Fn(&DataType) -> bool| is(one) && is(other);
    one == other
        || both(&DataType::is_numeric)
        || both(&DataType::is_string)
        || both(&is_time)
        || both(&is_bytes)
}

/// A foreign key to a table that is dropped.
pub struct Referring {
    catalog: Arc<Catalog>,
    ident: TableIdent,
    name: String,
    to: TableIdent,
}

impl Referring {
    /// As messages show it.
    pub fn shown(&self) -> String {
        format!("constraint {} on table {}", self.name, self.ident)
    }

    /// What says why the table cannot be dropped alone.
    pub fn reason(&self) -> String {
        format!("{} depends on table {}", self.shown(), self.to)
    }

    pub async fn drop(&self, scope: &Scope) -> Result<()> {
        let ident = &self.ident;
        let Some(table) = self.catalog.table(ident).await? else { return Ok(()) };
        match dropped(&table, &self.name) {
            Some(alteration) => scope.tables.alter(&table, alteration).await,
            None => Ok(()),
        }
    }
}

/// Foreign keys of other tables to those that are dropped.
pub async fn referring(dropped: &[Relation]) -> Result<Vec<Referring>> {
    let mut all = Vec::new();
    for relation in dropped {
        let contents = relation.catalog.table_summaries().await?;
        let Some(Ok(to)) = contents.table(&relation.ident).map(|table| &table.snapshot) else { continue };
        for table in contents.tables() {
            let Ok(own) = &table.snapshot else { continue };
            let owner = Relation::table(relation.catalog.clone(), table.entry.ident.clone());
            if dropped.contains(&owner) {
                continue;
            }
            let keys = foreign_key::of(&own.properties).filter(|(_, key)| key.refers_to(own, to));
            all.extend(keys.map(|(name, _)| Referring {
                catalog: relation.catalog.clone(),
                ident: table.entry.ident.clone(),
                name: name.to_string(),
                to: relation.ident.clone(),
            }));
        }
    }
    Ok(all)
}
