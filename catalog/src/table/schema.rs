//! The schema of a table: an arrow schema plus what resolves its columns in data files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use super::identity::IdentityColumns;

/// Identifies a column for ever, whatever it is renamed to (Iceberg field id; Delta column mapping
/// id; for a Delta table without column mapping, the position of the column, counted from 1 in
/// depth-first order, which is then not stored in any file).
pub type FieldId = i32;

/// Arrow field metadata key of the field id, at every nesting level. Same key as parquet's reader uses.
pub const FIELD_ID: &str = parquet::arrow::PARQUET_FIELD_ID_META_KEY;
/// Arrow field metadata key: the column's name in data files, where it differs from the logical
/// name (Delta column mapping). At every nesting level.
pub const PHYSICAL_NAME: &str = "auric.physical_name";
/// Arrow's own field metadata key of the name of an extension type.
pub const EXTENSION_TYPE: &str = "ARROW:extension:name";
/// [`EXTENSION_TYPE`] of a UUID column, whose arrow type `FixedSizeBinary(16)` could also be a plain
/// 16-byte column.
pub const UUID_EXTENSION: &str = "arrow.uuid";
/// Arrow field metadata key of a column comment (Iceberg `doc`, Delta `comment`).
pub const COMMENT: &str = "comment";
/// Arrow field metadata key: the column's default as SQL text, when the format keeps it as text.
pub const DEFAULT_SQL: &str = "auric.default";

/// Arrow field metadata key: `typname` of the Postgres type, where the arrow type alone does not tell it.
pub const PG_TYPE: &str = "auric.pg_type";
/// Arrow field metadata key: the length of a `varchar(n)` or `char(n)`.
pub const TEXT_LENGTH: &str = "auric.text_length";
/// Table property of a `varchar(n)`, `char(n)`, `json` or `jsonb` column, followed by its name; the value is the
/// type. Both formats have one type of text only.
pub const TEXT_TYPE_PROPERTY: &str = "auric.text-type.";
/// Table property of a foreign key that nothing enforces, followed by the name of the constraint.
pub const FOREIGN_KEY_PROPERTY: &str = "auric.foreign-key.";

/// How the columns of a data file are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnResolution {
    /// By field id; files whose schema has no ids fall back on the name mapping, if there is one
    /// (Iceberg spec, "Column Projection"). Without ids and mapping, by position-independent name.
    FieldId { name_mapping: Option<NameMapping> },
    /// By physical name ([`PHYSICAL_NAME`] where present, else the logical name).
    Name,
}

/// Iceberg's `schema.name-mapping.default`: the names under which a field may appear in files
/// without field ids.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameMapping {
    pub fields: Vec<MappedField>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MappedField {
    pub field_id: Option<FieldId>,
    pub names: Vec<String>,
    pub fields: Vec<MappedField>,
}

/// Schema of one version of a table.
///
/// Strings and binaries are view types (`Utf8View`, `BinaryView`), as the Parquet reader produces
/// them fastest; every other type is the plain arrow counterpart of the format's type.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// The format's schema id (0 for Delta).
    pub schema_id: i32,
    /// Logical columns in order. Fields carry [`FIELD_ID`] when files are resolved by id.
    pub arrow: SchemaRef,
    /// Field id of each top-level column, in the order of `arrow`.
    pub field_ids: Vec<FieldId>,
    pub resolution: ColumnResolution,
    /// Value of a column in files that lack it (Iceberg v3 `initial-default`), by field id.
    pub initial_defaults: HashMap<FieldId, ScalarValue>,
    /// Value of a column that an INSERT leaves out (Iceberg v3 `write-default`), by field id.
    pub write_defaults: HashMap<FieldId, ScalarValue>,
    /// Columns that identify a row (Iceberg identifier fields): shown as the primary key.
    pub identifier_field_ids: Vec<FieldId>,
    /// Columns whose values the table gives out.
    pub identity: IdentityColumns,
}

impl TableSchema {
    /// With the types of `varchar(n)`, `char(n)`, `json` and `jsonb` columns, by the table's properties.
    pub fn with_text_types<'p>(mut self, property: impl Fn(&str) -> Option<&'p String>) -> Self {
        let typed = |field: &FieldRef| -> Option<FieldRef> {
            let text = property(&format!("{TEXT_TYPE_PROPERTY}{}", field.name()))?;
            let (name, length) = match text.as_str() {
                "json" | "jsonb" => (text.as_str(), None),
                sized => {
                    let (name, rest) = sized.split_once('(')?;
                    let length: u32 = rest.strip_suffix(')')?.parse().ok()?;
                    match name {
                        "varchar" => ("varchar", Some(length)),
                        "char" => ("bpchar", Some(length)),
                        _ => return None,
                    }
                }
            };
            if *field.data_type() != DataType::Utf8View {
                return None;
            }
            let mut metadata = field.metadata().clone();
            metadata.insert(PG_TYPE.to_string(), name.to_string());
            metadata.extend(length.map(|length| (TEXT_LENGTH.to_string(), length.to_string())));
            Some(Arc::new(field.as_ref().clone().with_metadata(metadata)))
        };
        let fields: Vec<_> = self.arrow.fields().iter().map(typed).collect();
        if fields.iter().any(Option::is_some) {
            let old = self.arrow.fields().iter();
            let fields: Vec<FieldRef> =
                old.zip(fields).map(|(old, new)| new.unwrap_or_else(|| old.clone())).collect();
            self.arrow = Arc::new(Schema::new_with_metadata(fields, self.arrow.metadata().clone()));
        }
        self
    }

    /// Index and field of the top-level column with this id.
    pub fn column_by_id(&self, id: FieldId) -> Option<(usize, &FieldRef)> {
        let index = self.field_ids.iter().position(|f| *f == id)?;
        Some((index, &self.arrow.fields()[index]))
    }

    /// Field id of a top-level column by exact name.
    pub fn id_of(&self, name: &str) -> Option<FieldId> {
        self.arrow.fields().iter().position(|f| f.name() == name).map(|i| self.field_ids[i])
    }
}
