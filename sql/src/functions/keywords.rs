//! `pg_get_keywords()` (manual 9.26.4): the words that SQL knows.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use crate::parser::reserved::KEYWORDS;
use crate::pg_catalog::value::{Value, field, to_array};

/// As the lines of [`KEYWORDS`]: word, code of its category, whether it may be a bare label, and both
/// in words.
const COLUMNS: &[(&str, &str)] = &[
    ("word", "text"),
    ("catcode", "char"),
    ("barelabel", "bool"),
    ("catdesc", "text"),
    ("baredesc", "text"),
];

/// The function.
#[derive(Debug)]
pub struct Keywords;

impl Keywords {
    fn table() -> Result<Arc<dyn TableProvider>> {
        let schema =
            Arc::new(Schema::new(COLUMNS.iter().map(|(name, t)| field(name, t)).collect::<Vec<_>>()));
        let columns = COLUMNS
            .iter()
            .enumerate()
            .map(|(i, (_, pg_type))| {
                let values: Vec<Value> = KEYWORDS
                    .lines()
                    .map(|line| match (line.split('\t').nth(i), *pg_type) {
                        (Some(cell), "bool") => (cell == "t").into(),
                        (Some(cell), _) => cell.into(),
                        (None, _) => Value::Null,
                    })
                    .collect();
                to_array(&values, field("", pg_type).data_type())
            })
            .collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
    }
}

impl TableFunctionImpl for Keywords {
    fn call(&self, _: &[Expr]) -> Result<Arc<dyn TableProvider>> {
        Self::table()
    }

    fn call_with_args(&self, _: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        Self::table()
    }
}
