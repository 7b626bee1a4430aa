//! Files of random rows lose random rows; the `parquet` crate says what must be left of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Int32Type, Schema};
use auric_pages::{ColumnChunk, KeptRows, is_supported, retain};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{BoundaryOrder, Compression, CompressionCodec, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Values of every kind, with few and with many different ones, with and without NULL and NaN.
fn rows(random: &mut StdRng, count: usize) -> RecordBatch {
    fn maybe<T>(random: &mut StdRng, nulls: f64, value: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
        if random.random_bool(nulls) { None } else { Some(value(random)) }
    }
    macro_rules! column {
        ($array:ty, $nulls:expr, $value:expr) => {{
            let nulls = $nulls;
            Arc::new((0..count).map(|_| maybe(random, nulls, $value)).collect::<$array>()) as ArrayRef
        }};
    }
    let some_nulls = *[0.0, 0.02, 0.5, 1.0].choose(random).unwrap();
    let long = *[3, 40, 90].choose(random).unwrap();
    let text = |random: &mut StdRng, most: usize| -> String {
        let length = random.random_range(0..=most);
        (0..length).map(|_| *['a', 'z', 'ß', '€'].choose(random).unwrap()).collect()
    };
    let floats = [0.0, -0.0, f64::NAN, 1.5, -2.5, f64::INFINITY];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("few", column!(Int32Array, some_nulls, |r| r.random_range(-3..3))),
        ("many", column!(Int64Array, some_nulls, |r| r.random::<i64>())),
        ("ascending", Arc::new(Int64Array::from_iter_values(0..count as i64))),
        ("day", column!(Date32Array, 0.0, |r| r.random_range(0..2_000))),
        ("at", column!(TimestampMicrosecondArray, some_nulls, |r| r.random_range(-9..9))),
        ("float", column!(Float32Array, some_nulls, |r| *floats.choose(r).unwrap() as f32)),
        ("double", column!(Float64Array, 0.0, |r| *floats.choose(r).unwrap())),
        ("real", column!(Float64Array, some_nulls, |r| r.random::<f64>() - 0.5)),
        (
            "short_decimal",
            Arc::new(
                column!(Decimal128Array, some_nulls, |r| r.random_range(-500..500_i128))
                    .as_any()
                    .downcast_ref::<Decimal128Array>()
                    .unwrap()
                    .clone()
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        (
            "decimal",
            Arc::new(
                column!(Decimal128Array, some_nulls, |r| i128::from(r.random::<i64>()))
                    .as_any()
                    .downcast_ref::<Decimal128Array>()
                    .unwrap()
                    .clone()
                    .with_precision_and_scale(30, 2)
                    .unwrap(),
            ),
        ),
        ("name", column!(StringArray, some_nulls, |r| format!("name {}", r.random_range(0..50)))),
        ("text", column!(StringArray, some_nulls, |r| text(r, long))),
        (
            "bytes",
            column!(BinaryArray, some_nulls, |r| (0..r.random_range(0..long))
                .map(|_| r.random())
                .collect::<Vec<u8>>()),
        ),
        (
            "id",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    (0..count).map(|_| maybe(random, some_nulls, |r| r.random::<[u8; 16]>())),
                    16,
                )
                .unwrap(),
            ),
        ),
        ("flag", column!(BooleanArray, some_nulls, |r| r.random())),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..count).map(|_| Some(vec![Some(1), None])),
            )),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| {
            let is_required = values.null_count() == 0 && random.random_bool(0.3);
            Field::new(*name, values.data_type().clone(), !is_required)
        })
        .collect();
    let columns = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn properties(random: &mut StdRng) -> WriterProperties {
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::default())];
    WriterProperties::builder()
        .set_compression(*codecs.choose(random).unwrap())
        .set_dictionary_enabled(random.random_bool(0.8))
        .set_dictionary_page_size_limit(*[200, 4_000, 1 << 20].choose(random).unwrap())
        .set_data_page_row_count_limit(*[1, 10, 64, 20_000].choose(random).unwrap())
        .set_write_batch_size(*[1, 16, 1_024].choose(random).unwrap())
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(64))
        .build()
}

fn write(batch: &RecordBatch, properties: WriterProperties) -> (Bytes, ParquetMetaData) {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    with_footer(writer.into_inner().unwrap().into())
}

fn with_footer(file: Bytes) -> (Bytes, ParquetMetaData) {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    let footer = reader.parse_and_finish(&file).unwrap();
    (file, footer)
}

/// The columns of the file's only row group that can lose rows, without those that go; their numbers.
fn without(file: &Bytes, footer: &ParquetMetaData, kept: &KeptRows) -> (Vec<usize>, Bytes, ParquetMetaData) {
    let group = footer.row_group(0);
    let bytes = Arc::new(file.clone());
    let supported: Vec<usize> = (0..group.num_columns()).filter(|i| is_supported(group.column(*i))).collect();
    let schema = footer.file_metadata().schema();
    let fields = supported.iter().map(|i| schema.get_fields()[*i].clone()).collect();
    let schema =
        parquet::schema::types::Type::group_type_builder("schema").with_fields(fields).build().unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default()).unwrap();
    let mut new = writer.next_row_group().unwrap();
    for i in &supported {
        let chunk = ColumnChunk {
            bytes: &bytes,
            metadata: group.column(*i),
            offset_index: &footer.offset_index().unwrap()[0][*i],
        };
        let left = retain(&chunk, kept, ZstdLevel::default()).unwrap().expect("a kind that is known");
        assert_eq!(left.bytes.len() as u64, left.close.bytes_written);
        new.append_column(&left.bytes, left.close).unwrap();
    }
    new.close().unwrap();
    let (file, footer) = with_footer(writer.into_inner().unwrap().into());
    (supported, file, footer)
}

fn read(file: &Bytes) -> RecordBatch {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn what_is_left_is_what_was_kept() {
    let (mut page_bounds, mut compared_indexes) = (0, 0);
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let count = *[1, 7, 100, 3_000].choose(&mut random).unwrap();
        let batch = rows(&mut random, count);
        let (file, footer) = write(&batch, properties(&mut random));
        let goes = *[0.0, 0.001, 0.1, 0.6, 0.99].choose(&mut random).unwrap();
        let (from, to) = (random.random_range(0..=count), random.random_range(0..=count));
        let is_together = random.random_bool(0.4);
        let mut gone: Vec<usize> = match is_together {
            true => (from.min(to)..from.max(to)).collect(),
            false => (0..count).filter(|_| random.random_bool(goes)).collect(),
        };
        if gone.len() == count {
            gone.pop();
        }
        let kept = KeptRows::without(count, gone.iter().map(|row| *row..row + 1));
        let (supported, new, new_footer) = without(&file, &footer, &kept);
        // All but flags and lists.
        assert_eq!(supported, (0..14).collect::<Vec<_>>());

        let mask: BooleanArray = (0..count).map(|row| Some(gone.binary_search(&row).is_err())).collect();
        let expected = filter_record_batch(&batch.project(&supported).unwrap(), &mask).unwrap();
        // Bit by bit: NaN is equal to itself.
        assert_eq!(format!("{:?}", read(&new).columns()), format!("{:?}", expected.columns()), "seed {seed}");

        let (_, oracle) = write(&expected, properties(&mut random));
        let group = new_footer.row_group(0);
        assert_eq!(group.num_rows() as usize, expected.num_rows());
        for (i, column) in group.columns().iter().enumerate() {
            let name = expected.schema().field(i).name().clone();
            let about = || format!("seed {seed}, {name}");
            let (found, wanted) =
                (column.statistics().unwrap(), oracle.row_group(0).column(i).statistics().unwrap());
            assert_eq!(found.null_count_opt(), wanted.null_count_opt(), "{}", about());
            if found.min_is_exact() && found.max_is_exact() && wanted.min_is_exact() && wanted.max_is_exact()
            {
                assert_eq!(found, wanted, "{}", about());
            } else {
                assert!(found.min_bytes_opt() <= wanted.min_bytes_opt(), "{}", about());
                assert!(found.max_bytes_opt() >= wanted.max_bytes_opt(), "{}", about());
            }
            assert_eq!(
                column.unencoded_byte_array_data_bytes(),
                oracle.row_group(0).column(i).unencoded_byte_array_data_bytes(),
                "{}",
                about()
            );
            if column.compression_codec() == CompressionCodec::UNCOMPRESSED {
                assert_eq!(column.uncompressed_size(), column.compressed_size(), "{}", about());
            }
            // Pages, each as a file of its own.
            let pages = new_footer.offset_index().unwrap()[0][i].page_locations();
            let index = &new_footer.column_index().unwrap()[0][i];
            if name == "ascending" {
                assert_eq!(index.get_boundary_order(), Some(BoundaryOrder::ASCENDING), "{}", about());
            }
            for (page, location) in pages.iter().enumerate() {
                let first = location.first_row_index as usize;
                let end =
                    pages.get(page + 1).map_or(expected.num_rows(), |next| next.first_row_index as usize);
                let alone = expected.slice(first, end - first).project(&[i]).unwrap();
                let (_, alone) = write(
                    &alone,
                    WriterProperties::builder()
                        .set_statistics_enabled(EnabledStatistics::Page)
                        .set_data_page_row_count_limit(usize::MAX)
                        .set_write_batch_size(usize::MAX >> 1)
                        .set_statistics_truncate_length(Some(64))
                        .build(),
                );
                if page > 40 || alone.offset_index().unwrap()[0][0].page_locations().len() > 1 {
                    break;
                }
                let wanted = &alone.column_index().unwrap()[0][0];
                if matches!(index, parquet::file::page_index::column_index::ColumnIndexMetaData::NONE) {
                    continue;
                }
                compared_indexes += 1;
                assert_eq!(index.null_count(page), wanted.null_count(0), "{}, page {page}", about());
                assert_eq!(index.is_null_page(page), wanted.is_null_page(0), "{}, page {page}", about());
                page_bounds += usize::from(bounds(index, page, &mut |found| {
                    bounds(wanted, 0, &mut |wanted| {
                        let is_long = |bound: &[u8]| bound.len() >= 60;
                        if found.iter().chain(wanted).any(|bound| is_long(bound)) {
                            assert!(
                                found[0] <= wanted[0] && found[1] >= wanted[1],
                                "{}, page {page}",
                                about()
                            );
                        } else {
                            assert_eq!(found, wanted, "{}, page {page}", about());
                        }
                    });
                }));
            }
        }
    }
    assert!(page_bounds > 10_000 && compared_indexes > page_bounds, "{page_bounds} of {compared_indexes}");
}

/// Calls `see` with the bounds of a page, if it has any.
fn bounds(
    index: &parquet::file::page_index::column_index::ColumnIndexMetaData,
    page: usize,
    see: &mut dyn FnMut(&[Vec<u8>; 2]),
) -> bool {
    use parquet::data_type::AsBytes;
    use parquet::file::page_index::column_index::ColumnIndexMetaData as Index;
    macro_rules! of {
        ($index:expr) => {{
            (
                $index.min_value(page).map(|bound| bound.as_bytes().to_vec()),
                $index.max_value(page).map(|bound| bound.as_bytes().to_vec()),
            )
        }};
    }
    let (Some(min), Some(max)) = (match index {
        Index::NONE => (None, None),
        Index::BOOLEAN(index) => of!(index),
        Index::INT32(index) => of!(index),
        Index::INT64(index) => of!(index),
        Index::INT96(_) => (None, None),
        Index::FLOAT(index) => of!(index),
        Index::DOUBLE(index) => of!(index),
        Index::BYTE_ARRAY(index) | Index::FIXED_LEN_BYTE_ARRAY(index) => of!(index),
    }) else {
        return false;
    };
    see(&[min, max]);
    true
}
