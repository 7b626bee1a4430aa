//! `information_schema.table_privileges` and `role_table_grants`, which are the same where nothing is granted to
//! everybody: whoever may connect may do everything with tables, and read views and system relations.
//!
//! The relations are those of `information_schema.tables`. Nobody can hand on what he may do.

use datafusion::error::Result;

use super::{database, yes_or_no};
use crate::pg_catalog::image::{OWNER_NAME, RelationKind};
use crate::pg_catalog::{CatalogContext, Rows, roles, shape};

const OF_TABLES: &[&str] = &["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
const OF_OTHERS: &[&str] = &["SELECT"];

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "grantor grantee table_catalog table_schema table_name privilege_type is_grantable with_hierarchy",
    );
    let grantees: Vec<String> =
        roles(context).into_iter().filter(|role| role.is_superuser).map(|role| role.name).collect();
    let mut push = |schema: &str, name: &str, privileges: &[&str]| {
        for grantee in &grantees {
            for privilege in privileges {
                rows.push(vec![
                    OWNER_NAME.into(),
                    grantee.into(),
                    database(context),
                    schema.into(),
                    name.into(),
                    (*privilege).into(),
                    yes_or_no(false),
                    // As in Postgres: of SELECT, that it reads tables that inherit.
                    yes_or_no(*privilege == "SELECT"),
                ]);
            }
        }
    };
    for shape in shape::all() {
        push(shape.schema, shape.name, OF_OTHERS);
    }
    for relation in &context.image.relations {
        match relation.kind {
            RelationKind::Table => push(&relation.namespace, &relation.name, OF_TABLES),
            RelationKind::View => push(&relation.namespace, &relation.name, OF_OTHERS),
            // As in Postgres.
            RelationKind::MaterializedView => {}
        }
    }
    Ok(rows)
}
