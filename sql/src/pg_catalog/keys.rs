//! Which columns of system relations tell their rows apart: the unique indexes of Postgres' catalogs.

use super::shape::Shape;

/// Sets of columns, each of which has other values in every row. Empty: none is known.
pub fn of(shape: &Shape) -> &'static [&'static [&'static str]] {
    if shape.schema != "pg_catalog" || shape.kind != "r" {
        return &[];
    }
    match shape.name {
        "pg_attrdef" => &[&["oid"], &["adrelid", "adnum"]],
        "pg_attribute" => &[&["attrelid", "attnum"], &["attrelid", "attname"]],
        "pg_class" => &[&["oid"], &["relname", "relnamespace"]],
        "pg_description" => &[&["objoid", "classoid", "objsubid"]],
        "pg_index" => &[&["indexrelid"]],
        "pg_namespace" => &[&["oid"], &["nspname"]],
        "pg_rewrite" => &[&["oid"], &["ev_class", "rulename"]],
        "pg_sequence" => &[&["seqrelid"]],
        "pg_type" => &[&["oid"], &["typname", "typnamespace"]],
        "pg_am" | "pg_cast" | "pg_collation" | "pg_constraint" | "pg_database" | "pg_language"
        | "pg_opclass" | "pg_operator" | "pg_opfamily" | "pg_proc" | "pg_tablespace" => &[&["oid"]],
        _ => &[],
    }
}
