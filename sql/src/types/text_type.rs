//! Types that tables keep as text: `varchar(n)` and `char(n)` (manual 8.3), whose values are without trailing
//! blanks that mean nothing, and `json` and `jsonb` (8.14). The type, and its length, is in the metadata of the
//! field.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use auric_catalog::table::schema::{PG_TYPE, TEXT_LENGTH};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, lit,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{CharacterLength, DataType as Sql};

use crate::error::{Error, SqlState};
use crate::functions::json;

/// The type of a text that is not just text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextType {
    Varchar(Option<u32>),
    Char(Option<u32>),
    Json,
    Jsonb,
}

impl TextType {
    /// `None`: a type of another kind.
    pub fn of_sql(sql: &Sql) -> Option<Self> {
        Some(match sql {
            Sql::Varchar(length) | Sql::CharacterVarying(length) | Sql::CharVarying(length) => {
                Self::Varchar(number(length.as_ref()))
            }
            // `char` alone is `char(1)`.
            Sql::Char(length) | Sql::Character(length) => Self::Char(number(length.as_ref()).or(Some(1))),
            Sql::JSON => Self::Json,
            Sql::JSONB => Self::Jsonb,
            _ => return None,
        })
    }

    /// Of a field with a length, or of documents; `None`: any text goes.
    pub fn of_field(field: &Field) -> Option<Self> {
        if !field.data_type().is_string() {
            return None;
        }
        let length = || field.metadata().get(TEXT_LENGTH)?.parse().ok();
        match field.metadata().get(PG_TYPE)?.as_str() {
            "varchar" => Some(Self::Varchar(Some(length()?))),
            "bpchar" => Some(Self::Char(Some(length()?))),
            "json" => Some(Self::Json),
            "jsonb" => Some(Self::Jsonb),
            _ => None,
        }
    }

    /// Whether it is `json` or `jsonb`.
    pub fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Jsonb)
    }

    /// As table properties keep it: `varchar(3)`. `None`: it has no length.
    pub fn stored(self) -> Option<String> {
        match self {
            Self::Varchar(length) => length.map(|length| format!("varchar({length})")),
            Self::Char(length) => length.map(|length| format!("char({length})")),
            Self::Json => Some("json".to_string()),
            Self::Jsonb => Some("jsonb".to_string()),
        }
    }

    /// The function that casts to it, and its length.
    pub fn cast_function(self) -> (&'static str, Option<u32>) {
        match self {
            Self::Varchar(length) => ("varchar", length),
            Self::Char(length) => ("bpchar", length),
            Self::Json => ("json", None),
            Self::Jsonb => ("jsonb", None),
        }
    }

    /// `value` as this type, where it is assigned: what is too long, or no document, is an error.
    pub fn assigned(self, value: Expr) -> Expr {
        let (kind, length) = match self {
            Self::Varchar(length) => (Kind::AssignVarchar, length),
            Self::Char(length) => (Kind::AssignChar, length),
            Self::Json => return json::cast_to("json", value),
            Self::Jsonb => return json::cast_to("jsonb", value),
        };
        match length {
            Some(length) => {
                TextCast::udf(kind).call(vec![value, lit(i32::try_from(length).unwrap_or(i32::MAX))])
            }
            None => value,
        }
    }
}

fn number(length: Option<&CharacterLength>) -> Option<u32> {
    match length? {
        CharacterLength::IntegerLength { length, .. } => u32::try_from(*length).ok(),
        CharacterLength::Max => None,
    }
}

/// The functions that casts are.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![TextCast::udf(Kind::Varchar), TextCast::udf(Kind::Char)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Varchar,
    Char,
    AssignVarchar,
    AssignChar,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextCast {
    kind: Kind,
    signature: Signature,
}

impl TextCast {
    fn udf(kind: Kind) -> Arc<ScalarUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { kind, signature }))
    }

    fn one(&self, text: &str, length: usize) -> std::result::Result<String, Error> {
        let cut = text.char_indices().nth(length).map_or(text.len(), |(at, _)| at);
        let (kept, rest) = text.split_at(cut);
        let (assigned, name) = match self.kind {
            Kind::Varchar | Kind::Char => (false, ""),
            Kind::AssignVarchar => (true, "character varying"),
            Kind::AssignChar => (true, "character"),
        };
        if assigned && !rest.bytes().all(|byte| byte == b' ') {
            let message = format!("value too long for type {name}({length})");
            return Err(Error::new(SqlState("22001"), message));
        }
        Ok(match self.kind {
            Kind::Varchar | Kind::AssignVarchar => kept,
            Kind::Char | Kind::AssignChar => kept.trim_end_matches(' '),
        }
        .to_string())
    }
}

impl ScalarUDFImpl for TextCast {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Varchar => "varchar",
            Kind::Char => "bpchar",
            Kind::AssignVarchar => "varchar_assign",
            Kind::AssignChar => "bpchar_assign",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.len() {
            1 => Ok(vec![DataType::Utf8]),
            2 => Ok(vec![DataType::Utf8, DataType::Int32]),
            _ => Err(DataFusionError::Plan(format!("{} takes a text and a length", self.name()))),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let name = match self.kind {
            Kind::Varchar | Kind::AssignVarchar => "varchar",
            Kind::Char | Kind::AssignChar => "bpchar",
        };
        let mut metadata = HashMap::from([(PG_TYPE.to_string(), name.to_string())]);
        if let Some(Some(length)) = args.scalar_arguments.get(1) {
            metadata.insert(TEXT_LENGTH.to_string(), length.to_string());
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8, true).with_metadata(metadata)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let Some(text) = arrays.first() else {
            return Err(DataFusionError::Internal("an argument is missing".into()));
        };
        let text = cast(text, &DataType::Utf8)?;
        let lengths = arrays.get(1).map(|lengths| lengths.as_primitive::<Int32Type>());
        let values = text.as_string::<i32>().iter().enumerate().map(|(row, text)| {
            let length = lengths.map_or(usize::MAX, |l| usize::try_from(l.value(row)).unwrap_or(0));
            text.map(|text| self.one(text, length)).transpose()
        });
        let result: ArrayRef = Arc::new(values.collect::<std::result::Result<StringArray, Error>>()?);
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_characters() {
        let one = |kind, text: &str, length| {
            TextCast { kind, signature: Signature::user_defined(Volatility::Immutable) }.one(text, length)
        };
        assert_eq!(one(Kind::Varchar, "äöü", 2).unwrap(), "äö");
        assert_eq!(one(Kind::Char, "ab   ", 4).unwrap(), "ab");
        assert_eq!(one(Kind::AssignVarchar, "ab   ", 3).unwrap(), "ab ");
        assert_eq!(one(Kind::AssignChar, "ab   ", 3).unwrap(), "ab");
        assert_eq!(one(Kind::AssignVarchar, "abcd", 3).unwrap_err().code, SqlState("22001"));
    }
}
