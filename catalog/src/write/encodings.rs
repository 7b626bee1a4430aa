//! Which columns are worth a dictionary.
//!
//! A Parquet dictionary of values that hardly repeat saves nothing, and to look each of them up is what writing
//! costs most. The Parquet writer gives a dictionary up only when it has grown to its limit, in each row group
//! anew. Here a statement's row groups learn from the ones before.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// Rows from which on a row group says something of the next ones.
const TELLING_ROWS: i64 = 1 << 16;
/// Of so many row groups one tries again whatever is known.
const RETRY: usize = 16;

/// Leaf columns, by number, that are written without a dictionary. Shared by the files of a statement.
#[derive(Debug, Default)]
pub struct Encodings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    plain: Arc<BTreeSet<usize>>,
    begun: usize,
}

impl Encodings {
    /// Columns that the next row group writes without a dictionary.
    pub fn plain(&self) -> Arc<BTreeSet<usize>> {
        let mut state = self.0.lock();
        state.begun += 1;
        if state.begun.is_multiple_of(RETRY) {
            state.plain = Arc::default();
        }
        state.plain.clone()
    }

    /// What a row group that was written shows.
    pub fn learn(&self, group: &RowGroupMetaData) {
        if group.num_rows() < TELLING_ROWS {
            return;
        }
        let mut state = self.0.lock();
        for (leaf, chunk) in group.columns().iter().enumerate() {
            if chunk.dictionary_page_offset().is_some() && !has_saved(chunk) {
                Arc::make_mut(&mut state.plain).insert(leaf);
            }
        }
    }
}

/// Whether the dictionary and the references to it take less than four fifths of the values.
fn has_saved(chunk: &ColumnChunkMetaData) -> bool {
    let nulls = chunk.statistics().and_then(|statistics| statistics.null_count_opt()).unwrap_or(0);
    let values = chunk.num_values().saturating_sub(i64::try_from(nulls).unwrap_or(0));
    let width = match chunk.column_type() {
        Type::BOOLEAN => return true,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => i64::from(chunk.column_descr().type_length()),
        // Each with its length.
        Type::BYTE_ARRAY => 4,
    };
    let bytes = chunk.unencoded_byte_array_data_bytes().unwrap_or(0) + values * width;
    chunk.uncompressed_size() * 5 < bytes * 4
}

#[cfg(test)]
mod tests {
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn group(rows: i64) -> Arc<RowGroupMetaData> {
        use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
        let schema = "message t { required int64 few; required int64 many; required binary text; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut file =
            SerializedFileWriter::new(Vec::new(), schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = file.next_row_group().unwrap();
        for column in [|i: i64| i % 100, |i: i64| i * 7] {
            let values: Vec<i64> = (0..rows).map(column).collect();
            let mut writer = group.next_column().unwrap().unwrap();
            writer.typed::<Int64Type>().write_batch(&values, None, None).unwrap();
            writer.close().unwrap();
        }
        let texts: Vec<ByteArray> =
            (0..rows).map(|i| ByteArray::from(format!("text {i}").as_str())).collect();
        let mut writer = group.next_column().unwrap().unwrap();
        writer.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        writer.close().unwrap();
        group.close().unwrap()
    }

    #[test]
    fn what_hardly_repeats_gets_no_dictionary() {
        let encodings = Encodings::default();
        assert!(encodings.plain().is_empty());
        encodings.learn(&group(1_000));
        assert!(encodings.plain().is_empty(), "too few rows to tell");
        encodings.learn(&group(100_000));
        let known = BTreeSet::from([1, 2]);
        let plain: Vec<bool> = (3..=2 * RETRY).map(|_| *encodings.plain() == known).collect();
        assert_eq!(plain.iter().position(|known| !known), Some(RETRY - 3), "tried again");
    }
}
