//! Namespaces: the distinct names in all tables of the catalog, as in every SQL catalog; one without
//! tables and properties is kept by the property `exists`.

use std::collections::BTreeMap;

use super::database::{Driver, Write};
use super::layout::EXISTS_PROPERTY;

macro_rules! all_namespaces {
    () => {
        "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1 \
         UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1 \
         UNION SELECT table_namespace FROM auric_delta_tables WHERE catalog_name = $1"
    };
}

/// Name and OID (null: not given out yet).
pub const LIST: &str = concat!(
    "SELECT n.namespace, o.oid FROM (",
    all_namespaces!(),
    ") n LEFT JOIN auric_oids o ON o.catalog_name = $1 AND o.kind = 'namespace' \
     AND o.table_namespace = n.namespace AND o.table_name = '' ORDER BY n.namespace"
);

pub const PROPERTIES: &str = "SELECT namespace, property_key, property_value \
     FROM iceberg_namespace_properties WHERE catalog_name = $1";

pub const EXISTS: &str = concat!("SELECT 1 FROM (", all_namespaces!(), ") n WHERE n.namespace = $2 LIMIT 1");

pub const INSERT_PUBLIC: &str = concat!(
    "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
     SELECT $1, 'public', 'exists', 'true' WHERE NOT EXISTS (",
    all_namespaces!(),
    ")"
);

/// Gives OIDs to namespaces that have none.
pub const ASSIGN_OIDS: &str = concat!(
    "INSERT INTO auric_oids (catalog_name, kind, table_namespace, table_name) \
     SELECT $1, 'namespace', n.namespace, '' FROM (",
    all_namespaces!(),
    ") n WHERE NOT EXISTS (SELECT 1 FROM auric_oids o WHERE o.catalog_name = $1 \
     AND o.kind = 'namespace' AND o.table_namespace = n.namespace) ORDER BY n.namespace"
);

const INSERT_PROPERTY: &str = "INSERT INTO iceberg_namespace_properties \
     (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, $3, $4)";

const HAS_TABLES: &str = "SELECT 1 FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 \
     UNION ALL SELECT 1 FROM auric_delta_tables WHERE catalog_name = $1 AND table_namespace = $2 LIMIT 1";

const DELETE_PROPERTY: &str = "DELETE FROM iceberg_namespace_properties \
     WHERE catalog_name = $1 AND namespace = $2 AND property_key = $3";

const DELETE_PROPERTIES: &str =
    "DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";

const DELETE_OID: &str =
    "DELETE FROM auric_oids WHERE catalog_name = $1 AND kind = 'namespace' AND table_namespace = $2";

pub async fn exists(t: &mut Write, catalog: &str, name: &str) -> sqlx::Result<bool> {
    let found = sqlx::query::<Driver>(EXISTS).bind(catalog).bind(name).fetch_optional(&mut **t).await?;
    Ok(found.is_some())
}

pub async fn has_tables(t: &mut Write, catalog: &str, name: &str) -> sqlx::Result<bool> {
    let found = sqlx::query::<Driver>(HAS_TABLES).bind(catalog).bind(name).fetch_optional(&mut **t).await?;
    Ok(found.is_some())
}

pub async fn insert(
    t: &mut Write,
    catalog: &str,
    name: &str,
    properties: &BTreeMap<String, String>,
) -> sqlx::Result<()> {
    // Another program may have dropped a namespace of this name; a new one is a new object.
    delete_oid(t, catalog, name).await?;
    insert_properties(t, catalog, name, properties).await?;
    sqlx::query::<Driver>(ASSIGN_OIDS).bind(catalog).execute(&mut **t).await?;
    Ok(())
}

/// Records a namespace that only its tables made known so far; it keeps its OID.
pub async fn keep(t: &mut Write, catalog: &str, name: &str) -> sqlx::Result<()> {
    insert_properties(t, catalog, name, &BTreeMap::new()).await
}

pub async fn insert_properties(
    t: &mut Write,
    catalog: &str,
    name: &str,
    properties: &BTreeMap<String, String>,
) -> sqlx::Result<()> {
    let exists = [(EXISTS_PROPERTY.to_string(), "true".to_string())].into();
    for (key, value) in if properties.is_empty() { &exists } else { properties } {
        sqlx::query::<Driver>(INSERT_PROPERTY)
            .bind(catalog)
            .bind(name)
            .bind(key)
            .bind(value)
            .execute(&mut **t)
            .await?;
    }
    Ok(())
}

/// Replaces a property, or removes it. The namespace goes on to exist without any.
pub async fn set_property(
    t: &mut Write,
    catalog: &str,
    name: &str,
    key: &str,
    value: Option<&str>,
) -> sqlx::Result<()> {
    super::tables::run(t, DELETE_PROPERTY, &[catalog, name, EXISTS_PROPERTY]).await?;
    super::tables::run(t, DELETE_PROPERTY, &[catalog, name, key]).await?;
    super::tables::run(t, INSERT_PROPERTY, &[catalog, name, EXISTS_PROPERTY, "true"]).await?;
    if let Some(value) = value {
        super::tables::run(t, INSERT_PROPERTY, &[catalog, name, key, value]).await?;
    }
    Ok(())
}

pub async fn delete(t: &mut Write, catalog: &str, name: &str) -> sqlx::Result<()> {
    sqlx::query::<Driver>(DELETE_PROPERTIES).bind(catalog).bind(name).execute(&mut **t).await?;
    delete_oid(t, catalog, name).await
}

async fn delete_oid(t: &mut Write, catalog: &str, name: &str) -> sqlx::Result<()> {
    sqlx::query::<Driver>(DELETE_OID).bind(catalog).bind(name).execute(&mut **t).await?;
    Ok(())
}
