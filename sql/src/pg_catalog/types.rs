//! Built-in types: names, sizes, and how Postgres prints and reads a type's name.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What functions need to know of a type (columns of `pg_type`).
#[derive(Debug, Clone, Copy)]
pub struct TypeRow {
    pub oid: u32,
    pub name: &'static str,
    pub length: i16,
    pub by_value: bool,
    pub align: &'static str,
    pub storage: &'static str,
    pub element: u32,
    pub array: u32,
    pub collation: u32,
    /// `true` for arrays proper (not for `oidvector` and the like).
    pub is_array: bool,
}

static TYPES: LazyLock<Vec<TypeRow>> =
    LazyLock::new(|| include_str!("data/pg_type.tsv").lines().skip(1).filter_map(parse).collect());

static BY_OID: LazyLock<HashMap<u32, &'static TypeRow>> =
    LazyLock::new(|| TYPES.iter().map(|row| (row.oid, row)).collect());

static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeRow>> =
    LazyLock::new(|| TYPES.iter().map(|row| (row.name, row)).collect());

fn parse(line: &'static str) -> Option<TypeRow> {
    let cells: Vec<&'static str> = line.split('\t').collect();
    let number = |i: usize| cells.get(i)?.parse::<u32>().ok();
    Some(TypeRow {
        oid: number(0)?,
        name: cells.get(1)?,
        length: cells.get(4)?.parse().ok()?,
        by_value: *cells.get(5)? == "t",
        is_array: *cells.get(7)? == "A" && cells.get(1)?.starts_with('_'),
        element: number(13)?,
        array: number(14)?,
        align: cells.get(22)?,
        storage: cells.get(23)?,
        collation: number(28)?,
    })
}

/// A built-in type by OID.
pub fn by_oid(oid: u32) -> Option<&'static TypeRow> {
    BY_OID.get(&oid).copied()
}

/// A built-in type by `typname`.
pub fn by_name(name: &str) -> Option<&'static TypeRow> {
    BY_NAME.get(name).copied()
}

/// Standard names of types whose `typname` differs: what `format_type` prints before a modifier,
/// and what comes after it.
const STANDARD_NAMES: &[(&str, &str, &str)] = &[
    ("bool", "boolean", ""),
    ("int2", "smallint", ""),
    ("int4", "integer", ""),
    ("int8", "bigint", ""),
    ("float4", "real", ""),
    ("float8", "double precision", ""),
    ("varchar", "character varying", ""),
    ("bpchar", "character", ""),
    ("char", "\"char\"", ""),
    ("varbit", "bit varying", ""),
    ("time", "time", " without time zone"),
    ("timetz", "time", " with time zone"),
    ("timestamp", "timestamp", " without time zone"),
    ("timestamptz", "timestamp", " with time zone"),
];

/// Other names that SQL has for types.
const SYNONYMS: &[(&str, &str)] = &[
    ("int", "int4"),
    ("decimal", "numeric"),
    ("dec", "numeric"),
    ("float", "float8"),
    ("double", "float8"),
    ("string", "text"),
    ("char varying", "varchar"),
    ("char", "bpchar"),
    ("time without time zone", "time"),
    ("time with time zone", "timetz"),
    ("timestamp without time zone", "timestamp"),
    ("timestamp with time zone", "timestamptz"),
];

/// `format_type(oid, modifier)`. `None` for the modifier: the name of the type, whatever its modifier.
pub fn format_type(oid: u32, modifier: Option<i32>) -> String {
    if oid == 0 {
        return "-".to_string();
    }
    let Some(row) = by_oid(oid) else { return "???".to_string() };
    if row.is_array {
        return format!("{}[]", format_type(row.element, modifier));
    }
    let (before, after) = STANDARD_NAMES
        .iter()
        .find(|(name, ..)| *name == row.name)
        .map_or((row.name, ""), |(_, before, after)| (*before, *after));
    let shown = modifier.filter(|m| *m >= 0).and_then(|m| format_modifier(row.name, m));
    match shown {
        Some(shown) => format!("{before}{shown}{after}"),
        // `character` as the type of a column would mean `character(1)`.
        None if row.name == "bpchar" && modifier.is_some() => "bpchar".to_string(),
        None => format!("{before}{after}"),
    }
}

fn format_modifier(name: &str, modifier: i32) -> Option<String> {
    match name {
        "varchar" | "bpchar" => (modifier >= 4).then(|| format!("({})", modifier - 4)),
        "numeric" if modifier >= 4 => {
            let packed = modifier - 4;
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            Some(format!("({},{scale})", (packed >> 16) & 0xffff))
        }
        "time" | "timetz" | "timestamp" | "timestamptz" => Some(format!("({modifier})")),
        "bit" | "varbit" => Some(format!("({modifier})")),
        _ => None,
    }
}

/// The type that a name means (`integer`, `pg_catalog.int4`, `timestamp with time zone`,
/// `varchar(10)`, `int4[]`). `None`: no such built-in type.
pub fn parse_type_name(text: &str) -> Option<u32> {
    let text = text.trim();
    if let Some(element) = text.strip_suffix("[]") {
        let element = by_oid(parse_type_name(element)?)?;
        return (element.array != 0).then_some(element.array);
    }
    if let Some(bare) = text.strip_prefix("\"pg_catalog\".") {
        return by_name(bare.trim_matches('"')).map(|row| row.oid);
    }
    if let Some(quoted) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        return by_name(quoted).map(|row| row.oid);
    }
    let mut name = text.to_ascii_lowercase();
    if let Some(bare) = name.strip_prefix("pg_catalog.") {
        return by_name(bare.trim_matches('"')).map(|row| row.oid);
    }
    if let (Some(open), Some(close)) = (name.find('('), name.find(')'))
        && open < close
    {
        name.replace_range(open..=close, "");
    }
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = SYNONYMS
        .iter()
        .find(|(synonym, _)| *synonym == name)
        .map(|(_, name)| *name)
        .or_else(|| {
            STANDARD_NAMES
                .iter()
                .find(|(_, before, after)| after.is_empty() && *before == name)
                .map(|(name, ..)| *name)
        })
        .unwrap_or(&name);
    by_name(name).map(|row| row.oid)
}
