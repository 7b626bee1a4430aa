//! Relations whose rows are facts about Postgres, not about this catalog: built-in types, functions,
//! operators, casts. OIDs are Postgres' own, because drivers have them compiled in.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};

use super::CatalogContext;
use super::relation::Rows;
use super::value::{Value, arrow_type, parse_array_literal};
use super::{shape, shape::Shape};

/// Reads a table in COPY's text format whose first line names the columns.
fn read(name: &str, data: &'static str) -> Result<Rows> {
    let internal = |what: &str| DataFusionError::Internal(format!("data of {name}: {what}"));
    let shape = shape::find("pg_catalog", name).ok_or_else(|| internal("unknown relation"))?;
    let mut lines = data.lines();
    let columns: Vec<&'static str> = lines.next().unwrap_or_default().split('\t').collect();
    let types = columns
        .iter()
        .map(|column| type_of(shape, column).ok_or_else(|| internal(column)))
        .collect::<Result<Vec<_>>>()?;
    let values = lines
        .map(|line| {
            line.split('\t')
                .zip(&types)
                .map(|(text, data_type)| parse(text, data_type).ok_or_else(|| internal(line)))
                .collect()
        })
        .collect::<Result<Vec<Vec<Value>>>>()?;
    Ok(Rows { columns, values })
}

fn type_of(shape: &Shape, column: &str) -> Option<DataType> {
    let index = shape.index_of(column)?;
    Some(arrow_type(shape.columns.get(index)?.pg_type))
}

/// One value in COPY's text format. `None`: malformed.
fn parse(text: &str, data_type: &DataType) -> Option<Value> {
    if text == "\\N" {
        return Some(Value::Null);
    }
    Some(match data_type {
        DataType::Boolean => Value::Bool(text == "t"),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Value::Int(text.parse().ok()?),
        DataType::Float32 | DataType::Float64 => Value::Float(text.parse().ok()?),
        DataType::List(item) => {
            // `oidvector` and `int2vector` are written without braces.
            let items: Vec<Option<String>> = if text.starts_with('{') {
                parse_array_literal(text)?
            } else {
                text.split_whitespace().map(|word| Some(word.to_string())).collect()
            };
            let items = items
                .iter()
                .map(|item_text| match item_text {
                    Some(item_text) => parse(item_text, item.data_type()),
                    None => Some(Value::Null),
                })
                .collect::<Option<Vec<_>>>()?;
            Value::List(items)
        }
        _ => Value::Text(text.replace("\\\\", "\\")),
    })
}

macro_rules! static_relation {
    ($($name:ident),* $(,)?) => {$(
        #[doc = concat!("Rows of `", stringify!($name), "`.")]
        pub fn $name(_: &CatalogContext) -> Result<Rows> {
            read(stringify!($name), include_str!(concat!("data/", stringify!($name), ".tsv")))
        }
    )*};
}

static_relation!(
    pg_cast,
    pg_collation,
    pg_language,
    pg_opclass,
    pg_operator,
    pg_opfamily,
    pg_proc,
    pg_range,
    pg_type,
);

/// Access methods that Postgres does not have: the table formats.
pub const ICEBERG: u32 = 9001;
pub const DELTA: u32 = 9002;

/// Rows of `pg_am`: Postgres' own, and the table formats as access methods of tables.
pub fn pg_am(_: &CatalogContext) -> Result<Rows> {
    let mut rows = read("pg_am", include_str!("data/pg_am.tsv"))?;
    for (oid, name) in [(ICEBERG, "iceberg"), (DELTA, "delta")] {
        rows.push(vec![oid.into(), name.into(), 0.into(), "t".into()]);
    }
    Ok(rows)
}

/// A built-in function as the functions that describe functions need it.
#[derive(Debug, Clone)]
pub struct Proc {
    pub oid: u32,
    pub name: &'static str,
    pub is_set: bool,
    pub kind: &'static str,
    pub result: u32,
    pub arguments: Vec<u32>,
    /// Types of all arguments, OUT ones included, when there are any of these.
    pub all_arguments: Vec<u32>,
    pub modes: Vec<String>,
    pub argument_names: Vec<String>,
    pub variadic: u32,
}

static PROCS: LazyLock<Vec<Proc>> =
    LazyLock::new(|| include_str!("data/pg_proc.tsv").lines().skip(1).filter_map(parse_proc).collect());

static PROCS_BY_OID: LazyLock<HashMap<u32, &'static Proc>> =
    LazyLock::new(|| PROCS.iter().map(|proc| (proc.oid, proc)).collect());

fn parse_proc(line: &'static str) -> Option<Proc> {
    let cells: Vec<&str> = line.split('\t').collect();
    let list = |i: usize| -> Vec<String> {
        cells
            .get(i)
            .and_then(|text| parse_array_literal(text))
            .map(|items| items.into_iter().flatten().collect())
            .unwrap_or_default()
    };
    Some(Proc {
        oid: cells.first()?.parse().ok()?,
        name: cells.get(1)?,
        variadic: cells.get(7)?.parse().ok()?,
        kind: cells.get(8)?,
        is_set: *cells.get(12)? == "t",
        result: cells.get(17)?.parse().ok()?,
        arguments: cells.get(18)?.split_whitespace().filter_map(|w| w.parse().ok()).collect(),
        all_arguments: list(19).iter().filter_map(|w| w.parse().ok()).collect(),
        modes: list(20),
        argument_names: list(21),
    })
}

/// A built-in function by OID.
pub fn proc_by_oid(oid: u32) -> Option<&'static Proc> {
    PROCS_BY_OID.get(&oid).copied()
}

/// Built-in functions of a name.
pub fn procs_by_name(name: &str) -> impl Iterator<Item = &'static Proc> {
    PROCS.iter().filter(move |proc| proc.name == name)
}
