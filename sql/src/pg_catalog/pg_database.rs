//! `pg_database`: the attached catalogs.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::OWNER;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "oid datname datdba encoding datlocprovider datistemplate datallowconn datconnlimit \
         datfrozenxid datminmxid dattablespace datcollate datctype",
    );
    for database in &context.image.databases {
        rows.push(vec![
            database.oid.into(),
            (&database.name).into(),
            OWNER.into(),
            // UTF8
            6.into(),
            "c".into(),
            false.into(),
            true.into(),
            (-1).into(),
            0.into(),
            0.into(),
            1663.into(),
            "C.UTF-8".into(),
            "C.UTF-8".into(),
        ]);
    }
    Ok(rows)
}
