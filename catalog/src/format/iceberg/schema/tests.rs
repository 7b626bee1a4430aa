//! Schemas there and back.

use arrow::datatypes::TimeUnit::{Microsecond, Nanosecond, Second};
use iceberg::spec::PrimitiveLiteral;

use super::*;

fn column(name: &str, data_type: DataType) -> ColumnDefinition {
    ColumnDefinition {
        name: name.into(),
        data_type,
        nullable: true,
        comment: None,
        identity: None,
        default: None,
    }
}

fn there_and_back(data_type: DataType, version: FormatVersion) -> Result<DataType> {
    let fields = iceberg_fields(&[column("c", data_type)], version, 0)?;
    arrow_type(&fields[0].field_type)
}

#[test]
fn primitive_types_map_to_the_nearest_iceberg_type() {
    let timestamp = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
    let cases = [
        (DataType::Int8, DataType::Int32),
        (DataType::UInt16, DataType::Int32),
        (DataType::UInt32, DataType::Int64),
        (DataType::UInt64, DataType::Decimal128(20, 0)),
        (DataType::Float16, DataType::Float32),
        (DataType::Decimal256(38, 4), DataType::Decimal128(38, 4)),
        (DataType::Date64, DataType::Date32),
        (DataType::Time32(Second), DataType::Time64(Microsecond)),
        (timestamp(Second, None), timestamp(Microsecond, None)),
        (timestamp(Microsecond, Some("Europe/Prague")), timestamp(Microsecond, Some("+00:00"))),
        (timestamp(Nanosecond, None), timestamp(Microsecond, None)),
        (DataType::LargeUtf8, DataType::Utf8View),
        (DataType::Binary, DataType::BinaryView),
        (DataType::FixedSizeBinary(16), DataType::FixedSizeBinary(16)),
        (DataType::FixedSizeBinary(5), DataType::FixedSizeBinary(5)),
    ];
    for (given, expected) in cases {
        assert_eq!(there_and_back(given.clone(), FormatVersion::V2).unwrap(), expected, "{given}");
    }
    let nanoseconds = timestamp(Nanosecond, Some("UTC"));
    let expected = timestamp(Nanosecond, Some("+00:00"));
    assert_eq!(there_and_back(nanoseconds, FormatVersion::V3).unwrap(), expected);
}

#[test]
fn types_that_iceberg_lacks_are_refused_by_column() {
    let types = [
        DataType::Null,
        DataType::Duration(Second),
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        DataType::Decimal256(39, 0),
        DataType::Decimal128(10, -2),
    ];
    for data_type in types {
        let list = DataType::new_list(data_type, true);
        let error = there_and_back(list, FormatVersion::V3).unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported { object, .. } if object.contains("c.element")),
            "{error}"
        );
    }
}

#[test]
fn nested_fields_carry_ids_and_comments() {
    let doc = HashMap::from([(COMMENT.to_string(), "inner".to_string())]);
    let inner = Field::new("x", DataType::Int32, false).with_metadata(doc);
    let entries = Field::new_struct(
        "entries",
        vec![Field::new("k", DataType::Utf8, false), Field::new("v", DataType::Float64, true)],
        false,
    );
    let columns = [
        ColumnDefinition {
            comment: Some("outer".into()),
            ..column("s", DataType::Struct(vec![inner].into()))
        },
        column("m", DataType::Map(Arc::new(entries), false)),
        column("l", DataType::new_large_list(DataType::Int64, false)),
    ];
    let fields = iceberg_fields(&columns, FormatVersion::V2, 0).unwrap();
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let table = table_schema(&schema, &HashMap::new(), "t").unwrap();
    let id = |f: &Field| f.metadata()[FIELD_ID].parse::<i32>().unwrap();
    let [s, m, l] = table.arrow.fields().as_ref() else { panic!() };
    assert_eq!(s.metadata()[COMMENT], "outer");
    let DataType::Struct(inner) = s.data_type() else { panic!() };
    assert_eq!((inner[0].metadata()[COMMENT].as_str(), inner[0].is_nullable()), ("inner", false));
    let DataType::Map(entries, _) = m.data_type() else { panic!() };
    let DataType::Struct(entry) = entries.data_type() else { panic!() };
    assert_eq!((entry[0].name().as_str(), entry[1].name().as_str()), ("key", "value"));
    let DataType::List(element) = l.data_type() else { panic!() };
    assert!(!element.is_nullable());
    let mut ids = vec![id(s), id(&inner[0]), id(m), id(&entry[0]), id(&entry[1]), id(l), id(element)];
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
}

#[test]
fn defaults_have_the_type_of_their_column() {
    let field = NestedField::optional(1, "s", Type::Primitive(PrimitiveType::String))
        .with_initial_default(Literal::Primitive(PrimitiveLiteral::String("a".into())))
        .with_write_default(Literal::Primitive(PrimitiveLiteral::String("b".into())));
    let schema = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
    let table = table_schema(&schema, &HashMap::new(), "t").unwrap();
    assert_eq!(table.initial_defaults[&1], ScalarValue::Utf8View(Some("a".into())));
    assert_eq!(table.write_defaults[&1], ScalarValue::Utf8View(Some("b".into())));
}

#[test]
fn the_name_mapping_is_read() {
    let text = r#"[{"field-id": 1, "names": ["a", "b"]}, {"names": ["s"], "fields": [{"field-id": 3, "names": []}]}]"#;
    let schema = Schema::builder().build().unwrap();
    let properties =
        |text: &str| HashMap::from([(DEFAULT_SCHEMA_NAME_MAPPING.to_string(), text.to_string())]);
    let table = table_schema(&schema, &properties(text), "t").unwrap();
    let ColumnResolution::FieldId { name_mapping: Some(mapping) } = table.resolution else { panic!() };
    assert_eq!(mapping.fields[0].names, ["a", "b"]);
    assert_eq!(mapping.fields[1].fields[0].field_id, Some(3));
    assert!(matches!(table_schema(&schema, &properties("{"), "t"), Err(Error::Corrupt { .. })));
}
