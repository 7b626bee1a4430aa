//! `pg_index`: one unique index per primary key. It does not exist as a file; clients read keys here.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "indexrelid indrelid indnatts indnkeyatts indisunique indnullsnotdistinct indisprimary \
         indisexclusion indimmediate indisclustered indisvalid indcheckxmin indisready indislive \
         indisreplident indkey indcollation indclass indoption",
    );
    for relation in context.image.relations.iter().filter(|r| !r.key.is_empty()) {
        let count = i64::try_from(relation.key.len()).unwrap_or_default();
        let zeros = Value::List(vec![Value::Int(0); relation.key.len()]);
        rows.push(vec![
            relation.key_index_oid().into(),
            relation.oid.into(),
            count.into(),
            count.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            false.into(),
            true.into(),
            true.into(),
            false.into(),
            relation.key.clone().into(),
            zeros.clone(),
            zeros.clone(),
            zeros,
        ]);
    }
    Ok(rows)
}
