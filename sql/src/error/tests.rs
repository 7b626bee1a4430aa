use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::*;

fn of(e: DataFusionError) -> (String, String) {
    let e = Error::from(e);
    (e.code.0.to_string(), e.message)
}

fn arrow(e: ArrowError) -> DataFusionError {
    DataFusionError::ArrowError(Box::new(e), None)
}

#[test]
fn wrappers_are_walked_through() {
    let inner = auric_catalog::Error::NamespaceNotFound("x".into());
    let wrapped = DataFusionError::Shared(Arc::new(DataFusionError::from(inner).context("c")));
    assert_eq!(of(wrapped), ("3F000".into(), "schema \"x\" does not exist".into()));
    let own = Error::new(SqlState::UNDEFINED_TABLE, "relation \"t\" does not exist").with_position(3);
    assert_eq!(Error::from(DataFusionError::from(own.clone())), own);
}

#[test]
fn values_are_worded_as_postgres_words_them() {
    assert_eq!(of(arrow(ArrowError::DivideByZero)).0, "22012");
    assert_eq!(
        of(arrow(ArrowError::CastError("Cannot cast string 'abc' to value of Int32 type".into()))),
        ("22P02".into(), "invalid input syntax for type integer: \"abc\"".into())
    );
    assert_eq!(
        of(arrow(ArrowError::CastError("Cannot cast string '99999999999' to value of Int32 type".into()))),
        ("22003".into(), "value \"99999999999\" is out of range for type integer".into())
    );
    assert_eq!(
        of(arrow(ArrowError::CastError("Can't cast value 300 to type Int8".into()))).1,
        "smallint out of range"
    );
    assert_eq!(of(arrow(ArrowError::ArithmeticOverflow("x".into()))).0, "22003");
}

#[test]
fn faults_of_the_statement_are_no_internal_errors() {
    let missing =
        SchemaError::FieldNotFound { field: Box::new(Column::from_name("nope")), valid_fields: vec![] };
    let missing = DataFusionError::SchemaError(Box::new(missing), Box::new(None));
    assert_eq!(of(missing), ("42703".into(), "column \"nope\" does not exist".into()));
    assert_eq!(of(DataFusionError::Plan("Invalid function 'foo'.\nDid you mean 'for'?".into())).0, "42883");
    assert_eq!(of(DataFusionError::NotImplemented("x".into())).0, "0A000");
    assert_eq!(of(DataFusionError::ResourcesExhausted("x".into())).0, "53200");
    assert_eq!(of(DataFusionError::Plan("anything".into())).0, "42000");
}
