//! Loading of [`CatalogImage`]s from the attached catalogs.

use std::sync::Arc;

use auric_catalog::registry::{Catalog, Table};
use auric_catalog::backend::TableEntry;
use datafusion::error::Result;
use futures::{StreamExt, TryStreamExt};

use super::CatalogContext;
use super::image::{CatalogImage, Column, Database, Namespace, Relation, RelationKind};
use crate::engine::Engine;
use crate::session::info::SessionInfo;

/// Tables that are opened at once.
const CONCURRENT_TABLES: usize = 16;
/// Namespace property that holds a schema's comment.
const NAMESPACE_COMMENT: &str = "comment";

impl CatalogContext {
    /// The context of a statement that looks into the catalog
    /// ([`needs_catalog`](crate::analyzer::needs_catalog)).
    pub async fn load(engine: &Arc<Engine>, info: Arc<SessionInfo>) -> Result<Arc<Self>> {
        let image = load(engine, &info.database).await?;
        Ok(Arc::new(Self { info, image }))
    }

    /// The context of any other statement: knows the session, but no objects.
    pub fn without_contents(info: Arc<SessionInfo>) -> Arc<Self> {
        let databases = info.engine.as_ref().map(|engine| databases(engine)).unwrap_or_default();
        let image = CatalogImage::new(databases, Vec::new(), Vec::new());
        Arc::new(Self { info, image: Arc::new(image) })
    }
}

fn databases(engine: &Engine) -> Vec<Database> {
    engine
        .registry
        .catalogs()
        .map(|catalog| Database { oid: catalog.oid(), name: catalog.name().to_string() })
        .collect()
}

/// The contents of one database now.
pub async fn load(engine: &Engine, database: &str) -> Result<Arc<CatalogImage>> {
    let catalog = engine.registry.catalog(database)?;
    let mut namespaces = Vec::new();
    let mut entries = Vec::new();
    for namespace in catalog.namespaces().await? {
        for entry in catalog.tables(&namespace.name).await? {
            entries.push((namespace.oid, entry));
        }
        namespaces.push(Namespace {
            oid: namespace.oid,
            comment: namespace.properties.get(NAMESPACE_COMMENT).cloned(),
            name: namespace.name,
        });
    }
    let relations = futures::stream::iter(entries)
        .map(|(namespace_oid, entry)| load_relation(catalog, namespace_oid, entry))
        .buffered(CONCURRENT_TABLES)
        .try_collect()
        .await?;
    Ok(Arc::new(CatalogImage::new(databases(engine), namespaces, relations)))
}

/// A table that cannot be loaded is shown without columns, so that one broken table does not hide
/// the others.
async fn load_relation(
    catalog: &Arc<Catalog>,
    namespace_oid: u32,
    entry: TableEntry,
) -> Result<Relation> {
    let mut relation = Relation {
        oid: entry.oid,
        namespace_oid,
        namespace: entry.ident.namespace.clone(),
        name: entry.ident.name.clone(),
        kind: RelationKind::Table,
        columns: Vec::new(),
        key: Vec::new(),
        comment: None,
        rows: None,
        bytes: None,
        properties: Default::default(),
        definition: None,
        has_partitions: false,
        format: Some(entry.format.to_string()),
    };
    match catalog.table(&entry.ident).await {
        Ok(Some(table)) => describe(&mut relation, &table),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(table = %entry.ident, %error, "table is listed without columns");
        }
    }
    Ok(relation)
}

fn describe(relation: &mut Relation, table: &Table) {
    let snapshot = &table.snapshot;
    let schema = &snapshot.schema;
    relation.columns = schema
        .arrow
        .fields()
        .iter()
        .zip(&schema.field_ids)
        .map(|(field, id)| {
            let mut column = Column::of_field(field);
            if column.default.is_none() {
                column.default = schema.write_defaults.get(id).and_then(default_text);
            }
            column
        })
        .collect();
    relation.key = (1..)
        .zip(&schema.field_ids)
        .filter(|(_, id)| schema.identifier_field_ids.contains(id))
        .map(|(number, _)| number)
        .collect();
    relation.comment = snapshot.comment.clone().filter(|comment| !comment.is_empty());
    relation.properties = snapshot.properties.clone();
    relation.has_partitions = !snapshot.default_spec.is_unpartitioned();
}

/// A default value as SQL.
fn default_text(value: &datafusion::scalar::ScalarValue) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let text = value.to_string();
    let is_text = value.data_type().is_string() || value.data_type().is_temporal();
    Some(if is_text { format!("'{}'", text.replace('\'', "''")) } else { text })
}
