//! `pg_authid` and `pg_user`: the roles of [`pg_roles`](super::pg_roles) under their other names.

use datafusion::error::Result;

use super::CatalogContext;
use super::pg_roles::roles;
use super::relation::Rows;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "oid rolname rolsuper rolinherit rolcreaterole rolcreatedb rolcanlogin rolreplication \
         rolbypassrls rolconnlimit",
    );
    for role in roles(context) {
        rows.push(vec![
            role.oid.into(),
            role.name.into(),
            role.is_superuser.into(),
            true.into(),
            role.is_superuser.into(),
            role.is_superuser.into(),
            role.can_log_in.into(),
            false.into(),
            false.into(),
            (-1).into(),
        ]);
    }
    Ok(rows)
}

pub fn pg_user(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("usename usesysid usecreatedb usesuper userepl usebypassrls passwd useconfig");
    for role in roles(context).into_iter().filter(|role| role.can_log_in) {
        rows.push(vec![
            role.name.into(),
            role.oid.into(),
            role.is_superuser.into(),
            role.is_superuser.into(),
            false.into(),
            false.into(),
            "********".into(),
            Value::Null,
        ]);
    }
    Ok(rows)
}
