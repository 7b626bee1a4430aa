//! Partition specs, sort orders and transforms, between Iceberg's and the neutral model.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use iceberg::spec::{
    NullOrder, PrimitiveType, Schema, SortDirection, SortOrder as IcebergSortOrder, TableMetadata,
    Transform as IcebergTransform, Type,
};

use super::literal::value_type;
use crate::error::{Error, Result};
use crate::table::{FieldId, PartitionField, PartitionSpec, SortField, SortOrder, Transform};

/// A partition spec of a table in both models.
#[derive(Debug, Clone)]
pub struct BoundSpec {
    pub spec: Arc<PartitionSpec>,
    /// Iceberg type of each field's values; `None` if the source column is in no schema any more.
    pub types: Vec<Option<PrimitiveType>>,
}

/// All specs of a table. Old specs may partition by columns that were dropped since: any schema
/// that still has the column will do, the newest first.
pub fn bind_specs(metadata: &TableMetadata) -> Result<Vec<BoundSpec>> {
    let mut schemas: Vec<&Arc<Schema>> = metadata.schemas_iter().collect();
    schemas
        .sort_by_key(|s| std::cmp::Reverse((s.schema_id() == metadata.current_schema_id(), s.schema_id())));
    metadata.partition_specs_iter().map(|spec| bind_spec(spec, &schemas)).collect()
}

/// Fails with `Unsupported` if we cannot write files of this spec: the values of a transform that we
/// do not know, or two columns of the same number of fixed bytes, as which uuids count.
pub fn check_writable(bound: &BoundSpec) -> Result<()> {
    let mut sizes = HashSet::new();
    for (field, primitive) in bound.spec.fields.iter().zip(&bound.types) {
        if let Transform::Unknown(name) = &field.transform {
            let what = format!("writing the transform {name}");
            return Err(Error::unsupported(format!("partition field \"{}\"", field.name), what));
        }
        // The `iceberg` crate defines the type of each anew, under the same name.
        let size = match primitive {
            Some(PrimitiveType::Uuid) => Some(16),
            Some(PrimitiveType::Fixed(size)) => Some(*size),
            _ => None,
        };
        if size.is_some_and(|size| !sizes.insert(size)) {
            let what = "partitioning by several columns of type uuid, or of as many fixed bytes";
            return Err(Error::unsupported(format!("partition field \"{}\"", field.name), what));
        }
    }
    Ok(())
}

fn bind_spec(spec: &iceberg::spec::PartitionSpec, schemas: &[&Arc<Schema>]) -> Result<BoundSpec> {
    let mut fields = Vec::with_capacity(spec.fields().len());
    let mut types = Vec::with_capacity(spec.fields().len());
    for field in spec.fields() {
        let source = schemas.iter().find_map(|schema| schema.field_by_id(field.source_id));
        // What an unknown transform gives, nobody knows.
        let source = source.filter(|_| field.transform != IcebergTransform::Unknown);
        let primitive = source
            .and_then(|source| field.transform.result_type(&source.field_type).ok())
            .and_then(|result| result.as_primitive_type().cloned());
        let transform = match primitive {
            Some(_) => neutral_transform(&field.transform),
            None => Transform::Unknown(field.transform.to_string()),
        };
        fields.push(PartitionField {
            source_id: field.source_id,
            field_id: field.field_id,
            name: field.name.clone(),
            transform,
            result_type: primitive.as_ref().map(value_type).transpose()?.unwrap_or(DataType::Null),
        });
        types.push(primitive);
    }
    Ok(BoundSpec { spec: Arc::new(PartitionSpec { spec_id: spec.spec_id(), fields }), types })
}

/// Whether the values of a field are not known: those of a transform that is not in the specification.
pub fn is_untold(field: &PartitionField) -> bool {
    matches!(&field.transform, Transform::Unknown(name) if *name == IcebergTransform::Unknown.to_string())
}

pub fn neutral_transform(transform: &IcebergTransform) -> Transform {
    match transform {
        IcebergTransform::Identity => Transform::Identity,
        IcebergTransform::Bucket(n) => Transform::Bucket(*n),
        IcebergTransform::Truncate(w) => Transform::Truncate(*w),
        IcebergTransform::Year => Transform::Year,
        IcebergTransform::Month => Transform::Month,
        IcebergTransform::Day => Transform::Day,
        IcebergTransform::Hour => Transform::Hour,
        IcebergTransform::Void => Transform::Void,
        IcebergTransform::Unknown => Transform::Unknown("unknown".to_string()),
    }
}

/// The Iceberg transform for values of `source`. Fails with `Invalid` if it cannot be applied to them.
pub fn iceberg_transform(transform: &Transform, column: &str, source: &Type) -> Result<IcebergTransform> {
    let iceberg = match transform {
        Transform::Identity => IcebergTransform::Identity,
        Transform::Bucket(n) if (1..=i32::MAX as u32).contains(n) => IcebergTransform::Bucket(*n),
        Transform::Truncate(w) if (1..=i32::MAX as u32).contains(w) => IcebergTransform::Truncate(*w),
        Transform::Bucket(n) => return Err(Error::Invalid(format!("{n} is no number of buckets"))),
        Transform::Truncate(w) => return Err(Error::Invalid(format!("{w} is no truncation width"))),
        Transform::Year => IcebergTransform::Year,
        Transform::Month => IcebergTransform::Month,
        Transform::Day => IcebergTransform::Day,
        Transform::Hour => IcebergTransform::Hour,
        Transform::Void => IcebergTransform::Void,
        Transform::Unknown(name) => return Err(Error::Invalid(format!("unknown transform \"{name}\""))),
    };
    match iceberg.result_type(source) {
        Ok(Type::Primitive(_)) => Ok(iceberg),
        _ => Err(Error::Invalid(format!(
            "transform {iceberg} cannot be applied to column \"{column}\" of type {source}"
        ))),
    }
}

/// Name of a partition field, as the reference implementation gives them.
pub fn field_name(column: &str, transform: &IcebergTransform) -> String {
    let suffix = match transform {
        IcebergTransform::Identity | IcebergTransform::Unknown => return column.to_string(),
        IcebergTransform::Bucket(_) => "bucket",
        IcebergTransform::Truncate(_) => "trunc",
        IcebergTransform::Year => "year",
        IcebergTransform::Month => "month",
        IcebergTransform::Day => "day",
        IcebergTransform::Hour => "hour",
        IcebergTransform::Void => "null",
    };
    format!("{column}_{suffix}")
}

pub fn neutral_sort_order(order: &IcebergSortOrder) -> SortOrder {
    let field = |f: &iceberg::spec::SortField| SortField {
        source_id: f.source_id as FieldId,
        transform: neutral_transform(&f.transform),
        descending: f.direction == SortDirection::Descending,
        nulls_first: f.null_order == NullOrder::First,
    };
    SortOrder {
        // An order that does not fit is one that nobody can refer to from a data file.
        order_id: i32::try_from(order.order_id).unwrap_or_default(),
        fields: order.fields.iter().map(field).collect(),
    }
}
