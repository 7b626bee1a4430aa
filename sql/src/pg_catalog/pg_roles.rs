//! `pg_roles`: the owner of everything, the session's user, and Postgres' predefined roles.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{OWNER, OWNER_NAME};
use super::relation::Rows;

/// OID of the session's user when that is not the owner. Users live in the server's configuration,
/// which has no OIDs; one is enough to name the role that asks.
pub const SESSION_USER: u32 = 16383;

/// Predefined roles that clients look for (manual 22.5).
const PREDEFINED: &[(u32, &str)] = &[
    (6171, "pg_database_owner"),
    (6181, "pg_read_all_data"),
    (6182, "pg_write_all_data"),
    (3373, "pg_monitor"),
    (3374, "pg_read_all_settings"),
    (3375, "pg_read_all_stats"),
    (3377, "pg_stat_scan_tables"),
    (4200, "pg_signal_backend"),
];

/// A role.
#[derive(Debug, Clone)]
pub struct Role {
    pub oid: u32,
    pub name: String,
    pub can_log_in: bool,
    pub is_superuser: bool,
}

/// Whether every session sees a role of that name.
pub fn is_role(name: &str) -> bool {
    name == OWNER_NAME || PREDEFINED.iter().any(|(_, predefined)| *predefined == name)
}

/// All roles that this session can see.
pub fn roles(context: &CatalogContext) -> Vec<Role> {
    let login = |oid, name: &str| Role { oid, name: name.to_string(), can_log_in: true, is_superuser: true };
    let mut roles = vec![login(OWNER, OWNER_NAME)];
    if context.info.user != OWNER_NAME {
        roles.push(login(SESSION_USER, &context.info.user));
    }
    roles.extend(PREDEFINED.iter().map(|(oid, name)| Role {
        oid: *oid,
        name: (*name).to_string(),
        can_log_in: false,
        is_superuser: false,
    }));
    roles
}

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "oid rolname rolsuper rolinherit rolcreaterole rolcreatedb rolcanlogin rolreplication \
         rolbypassrls rolconnlimit rolpassword",
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
            "********".into(),
        ]);
    }
    Ok(rows)
}
