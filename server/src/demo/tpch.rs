//! The eight tables of TPC-H, generated as record batches.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use auric_catalog::table::{ColumnDefinition, TableDefinition, TableFormat};
use auric_sql::load::RowSource;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RecordBatchIterator,
    RegionArrow, SupplierArrow,
};

use super::progress::Bar;

type Batches = Box<dyn RecordBatchIterator>;

/// A table of TPC-H.
pub(super) struct TpchTable {
    pub name: &'static str,
    /// Columns of the primary key.
    key: &'static [&'static str],
    /// Rows at scale factor 1.
    rows_at_one: u64,
    /// Whether the number of rows grows with the scale factor.
    scales: bool,
    /// Scale factor, part (from 1), number of parts.
    generate: fn(f64, i32, i32) -> Batches,
}

macro_rules! generator {
    ($arrow:ident, $generator:ident) => {
        |scale, part, parts| Box::new($arrow::new($generator::new(scale, part, parts)).with_batch_size(8192))
    };
}

pub(super) const TABLES: &[TpchTable] = &[
    TpchTable {
        name: "region",
        key: &["r_regionkey"],
        rows_at_one: 5,
        scales: false,
        generate: generator!(RegionArrow, RegionGenerator),
    },
    TpchTable {
        name: "nation",
        key: &["n_nationkey"],
        rows_at_one: 25,
        scales: false,
        generate: generator!(NationArrow, NationGenerator),
    },
    TpchTable {
        name: "supplier",
        key: &["s_suppkey"],
        rows_at_one: 10_000,
        scales: true,
        generate: generator!(SupplierArrow, SupplierGenerator),
    },
    TpchTable {
        name: "customer",
        key: &["c_custkey"],
        rows_at_one: 150_000,
        scales: true,
        generate: generator!(CustomerArrow, CustomerGenerator),
    },
    TpchTable {
        name: "part",
        key: &["p_partkey"],
        rows_at_one: 200_000,
        scales: true,
        generate: generator!(PartArrow, PartGenerator),
    },
    TpchTable {
        name: "partsupp",
        key: &["ps_partkey", "ps_suppkey"],
        rows_at_one: 800_000,
        scales: true,
        generate: generator!(PartSuppArrow, PartSuppGenerator),
    },
    TpchTable {
        name: "orders",
        key: &["o_orderkey"],
        rows_at_one: 1_500_000,
        scales: true,
        generate: generator!(OrderArrow, OrderGenerator),
    },
    TpchTable {
        name: "lineitem",
        key: &["l_orderkey", "l_linenumber"],
        rows_at_one: 6_001_215,
        scales: true,
        generate: generator!(LineItemArrow, LineItemGenerator),
    },
];

impl TpchTable {
    /// About how many rows there are.
    pub(super) fn rows(&self, scale: f64) -> u64 {
        if self.scales { (self.rows_at_one as f64 * scale) as u64 } else { self.rows_at_one }
    }

    fn schema(&self) -> SchemaRef {
        (self.generate)(0.001, 1, 1).schema().clone()
    }

    pub(super) fn definition(&self, format: TableFormat) -> TableDefinition {
        let schema = self.schema();
        let columns = schema.fields().iter().map(|field| ColumnDefinition {
            name: field.name().clone(),
            data_type: field.data_type().clone(),
            nullable: false,
            comment: None,
            identity: None,
            default: None,
        });
        TableDefinition {
            format,
            columns: columns.collect(),
            partitioning: Vec::new(),
            sorting: Vec::new(),
            // Delta knows no primary key.
            key_columns: match format {
                TableFormat::Iceberg => self.key.iter().map(ToString::to_string).collect(),
                TableFormat::Delta => Vec::new(),
            },
            constraints: Vec::new(),
            comment: Some(format!("TPC-H {}", self.name)),
            properties: BTreeMap::new(),
        }
    }
}

/// One part of a table's rows.
pub(super) struct Rows {
    table: &'static TpchTable,
    schema: SchemaRef,
    scale: f64,
    part: i32,
    parts: i32,
    bar: Bar,
}

impl Rows {
    /// Part `part` (from 1) of `parts`.
    pub(super) fn new(table: &'static TpchTable, scale: f64, part: i32, parts: i32, bar: Bar) -> Self {
        Self { table, schema: table.schema(), scale, part, parts, bar }
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.table.name, self.part, self.parts)
    }
}

impl RowSource for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn rows(&self) -> SendableRecordBatchStream {
        let batches = (self.table.generate)(self.scale, self.part, self.parts);
        let bar = self.bar.clone();
        let counted = batches.map(move |batch| {
            bar.advance(batch.num_rows() as u64);
            Ok(batch)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(counted)))
    }
}
