//! Making of [`CatalogImage`]s from the attached catalogs.

use std::collections::HashMap;
use std::sync::Arc;

use auric_catalog::backend::Oid;
use auric_catalog::name::TableIdent;
use auric_catalog::registry::{
    COMMENT, Catalog, CatalogContents, NamespaceContents, TableSummary, ViewSummary,
};

use auric_catalog::table::TableSnapshot;
use auric_catalog::table::identity::PROPERTY as IDENTITY_PROPERTY;
use auric_catalog::table::schema::FOREIGN_KEY_PROPERTY;
use parking_lot::Mutex;

use super::CatalogContext;
use super::foreign_key::{self, StoredKey};
use super::image::{CatalogImage, Check, Column, Database, ForeignKey, Namespace, Relation, RelationKind};
use crate::engine::Engine;
use crate::error::Result;
use crate::introspection::Plans;
use crate::materialize::definition::{Definition, PREFIX};
use crate::session::info::SessionInfo;
use crate::session::temporary::TemporaryTables;
use crate::session::transaction::TransactionTables;
use crate::statement::condition;
use crate::types::literal;

/// The last image of each database, with the contents that it was made from.
#[derive(Debug, Default)]
pub struct Images(Mutex<HashMap<String, Loaded>>);

/// An image, the contents that it was made from, and plans that read it.
type Loaded = (Vec<Arc<CatalogContents>>, ForAll);

/// What everybody sees.
pub(crate) type ForAll = (Arc<CatalogImage>, Arc<Plans>);

impl CatalogContext {
    /// The context of a statement that looks into the catalog
    /// ([`plan_needs_catalog`](crate::analyzer::plan_needs_catalog)).
    pub async fn load(
        engine: &Engine,
        database: &Arc<Catalog>,
        info: Arc<SessionInfo>,
        tables: &TransactionTables,
    ) -> Result<Arc<Self>> {
        let mut contents = vec![database.table_summaries().await?];
        let temporary = info.temporary.as_ref();
        if let Some(catalog) = temporary.and_then(|temporary| temporary.opened()) {
            contents.push(catalog.table_summaries().await?);
        }
        let own = contents.len() > 1 || tables.has_changes(database.name());
        let image = match temporary.filter(|_| own) {
            Some(temporary) => of_session(engine, contents, temporary),
            None if own => Arc::new(image(engine, &contents)),
            None => of_all(engine, database.name(), contents).0,
        };
        Ok(Arc::new(Self { info, image }))
    }
}

/// What a session sees that has no view of its own.
pub(crate) async fn for_all(engine: &Engine, database: &Catalog) -> Result<ForAll> {
    Ok(of_all(engine, database.name(), vec![database.table_summaries().await?]))
}

/// What everybody sees. The image is made anew only when the contents changed.
fn of_all(engine: &Engine, database: &str, contents: Vec<Arc<CatalogContents>>) -> ForAll {
    if let Some((last, seen)) = engine.images.0.lock().get(database)
        && is_same(last, &contents)
    {
        return seen.clone();
    }
    let seen = (Arc::new(image(engine, &contents)), Arc::<Plans>::default());
    engine.images.0.lock().insert(database.to_string(), (contents, seen.clone()));
    seen
}

/// The same with the session's temporary tables, and what its transaction has changed.
fn of_session(
    engine: &Engine,
    contents: Vec<Arc<CatalogContents>>,
    temporary: &TemporaryTables,
) -> Arc<CatalogImage> {
    if let Some((last, image)) = temporary.image.lock().as_ref()
        && is_same(last, &contents)
    {
        return image.clone();
    }
    let image = Arc::new(image(engine, &contents));
    *temporary.image.lock() = Some((contents, image.clone()));
    image
}

fn is_same(last: &[Arc<CatalogContents>], now: &[Arc<CatalogContents>]) -> bool {
    let same = |(last, now): (&Arc<CatalogContents>, &Arc<CatalogContents>)| {
        // Looked at again, as documents were written or time has passed, and found unchanged.
        Arc::ptr_eq(last, now) || last.is_same(now)
    };
    last.len() == now.len() && last.iter().zip(now).all(same)
}

fn image(engine: &Engine, contents: &[Arc<CatalogContents>]) -> CatalogImage {
    let databases = engine
        .registry
        .catalogs()
        .map(|catalog| Database { oid: catalog.oid(), name: catalog.name().to_string() })
        .collect();
    let all = || contents.iter().flat_map(|contents| &contents.namespaces);
    let namespaces = all().map(|namespace| Namespace {
        oid: namespace.entry.oid,
        name: namespace.entry.name.clone(),
        comment: namespace.entry.properties.get(COMMENT).cloned(),
    });
    let relations = all().flat_map(|namespace| {
        let tables = namespace.tables.iter().map(move |table| relation(namespace, table));
        tables.chain(namespace.views.iter().map(move |view| of_view(namespace, view)))
    });
    let mut relations: Vec<Relation> = relations.collect();
    foreign_keys(&mut relations, contents);
    CatalogImage::new(databases, namespaces.collect(), relations)
}

/// Gives relations the foreign keys to tables that there are.
fn foreign_keys(relations: &mut [Relation], contents: &[Arc<CatalogContents>]) {
    let snapshots = |contents: &'_ Arc<CatalogContents>| -> Vec<(Oid, Arc<TableSnapshot>)> {
        let read = contents.tables().filter_map(|t| Some((t.entry.oid, t.snapshot.as_ref().ok()?.clone())));
        read.collect()
    };
    for snapshots in contents.iter().map(snapshots) {
        let mut by_id: HashMap<&str, (Oid, &TableSnapshot)> = HashMap::new();
        let mut declared = Vec::new();
        for (oid, snapshot) in &snapshots {
            by_id.insert(&snapshot.table_id, (*oid, snapshot));
            declared
                .extend(foreign_key::of(&snapshot.properties).map(|(name, key)| (*oid, snapshot, name, key)));
        }
        let positions: HashMap<Oid, usize> = match declared.is_empty() {
            true => continue,
            false => relations.iter().enumerate().map(|(at, relation)| (relation.oid, at)).collect(),
        };
        for (oid, own, name, key) in declared {
            let id = key.table_id.as_ref().unwrap_or(&own.table_id);
            let Some((other, _)) = by_id.get(id.as_str()).filter(|(_, other)| key.refers_to(own, other))
            else {
                continue;
            };
            let (Some(&at), Some(&to)) = (positions.get(&oid), positions.get(other)) else { continue };
            let resolved = match (relations.get(at), relations.get(to)) {
                (Some(relation), Some(other)) => resolved(relation, other, name, &key),
                _ => None,
            };
            let Some(resolved) = resolved else { continue };
            if let Some(relation) = relations.get_mut(at) {
                relation.foreign_keys.push(resolved);
            }
            if let Some(other) = relations.get_mut(to) {
                other.is_referenced = true;
            }
        }
    }
}

/// `None`: a column is gone.
fn resolved(relation: &Relation, other: &Relation, name: &str, key: &StoredKey) -> Option<ForeignKey> {
    let numbers = |relation: &Relation, names: &[String]| -> Option<Vec<i16>> {
        let number = |name: &String| {
            relation.numbered_columns().find(|(_, column)| column.name == *name).map(|(number, _)| number)
        };
        names.iter().map(number).collect()
    };
    Some(ForeignKey {
        name: name.to_string(),
        columns: numbers(relation, &key.columns)?,
        referenced: numbers(other, &key.references)?,
        table: other.oid,
        index: if other.key.is_empty() { 0 } else { other.key_index_oid() },
        on_update: key.on_update,
        on_delete: key.on_delete,
        match_full: key.match_full,
    })
}

fn bare(namespace: &NamespaceContents, oid: Oid, ident: &TableIdent, kind: RelationKind) -> Relation {
    Relation::new(oid, (namespace.entry.oid, &ident.namespace), &ident.name, kind)
}

/// A table that cannot be read is shown without columns, so that it does not hide the others.
fn relation(namespace: &NamespaceContents, table: &TableSummary) -> Relation {
    let entry = &table.entry;
    let mut relation = bare(namespace, entry.oid, &entry.ident, RelationKind::Table);
    relation.format = Some(entry.format.to_string());
    match &table.snapshot {
        Ok(snapshot) => {
            describe(&mut relation, snapshot);
            match Definition::of(&snapshot.properties) {
                Ok(Some(definition)) => of_materialized_view(&mut relation, &definition),
                Ok(None) => {}
                Err(error) => {
                    relation.kind = RelationKind::MaterializedView;
                    tracing::warn!(view = %entry.ident, %error, "materialized view is listed without its query");
                }
            }
        }
        Err(error) => {
            tracing::warn!(table = %entry.ident, %error, "table is listed without columns");
        }
    }
    relation
}

fn of_materialized_view(relation: &mut Relation, definition: &Definition) {
    relation.kind = RelationKind::MaterializedView;
    relation.definition = Some(format!("{};", definition.query.trim_end()));
    relation.populated = definition.populated;
    // What the statements on the view show better.
    relation.properties.retain(|key, _| !key.starts_with(PREFIX));
}

fn of_view(namespace: &NamespaceContents, view: &ViewSummary) -> Relation {
    let entry = &view.entry;
    let mut relation = bare(namespace, entry.oid, &entry.ident, RelationKind::View);
    match &view.definition {
        Ok(definition) => {
            relation.columns = definition.columns.fields().iter().map(|f| Column::of_field(f)).collect();
            relation.comment = definition.comment.clone().filter(|comment| !comment.is_empty());
            // As Postgres ends them.
            relation.definition = Some(format!("{};", definition.sql.trim_end()));
        }
        Err(error) => tracing::warn!(view = %entry.ident, %error, "view is listed without columns"),
    }
    relation
}

fn describe(relation: &mut Relation, snapshot: &TableSnapshot) {
    let schema = &snapshot.schema;
    relation.columns = schema
        .arrow
        .fields()
        .iter()
        .zip(&schema.field_ids)
        .map(|(field, id)| {
            let mut column = Column::of_field(field);
            column.identity = schema.identity.get(id).copied();
            if column.default.is_none() {
                column.default = schema.write_defaults.get(id).and_then(literal::sql_text);
            }
            column
        })
        .collect();
    relation.key = (1..)
        .zip(&schema.field_ids)
        .filter(|(_, id)| schema.identifier_field_ids.contains(id))
        .map(|(number, _)| number)
        .collect();
    let checks = snapshot.constraints.iter().map(|constraint| Check {
        name: constraint.name.clone(),
        condition: condition::shown(&constraint.expression),
    });
    relation.checks = checks.collect();
    relation.comment = snapshot.comment.clone().filter(|comment| !comment.is_empty());
    relation.properties = snapshot.properties.clone();
    // What `pg_constraint` shows better.
    relation.properties.retain(|key, _| !key.starts_with(FOREIGN_KEY_PROPERTY));
    // Shown with the columns.
    relation.properties.retain(|key, _| !key.starts_with(IDENTITY_PROPERTY));
    relation.has_partitions = !snapshot.default_spec.is_unpartitioned();
}
