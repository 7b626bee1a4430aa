//! A column chunk without some of its rows.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{
    BoundaryOrder, CompressionCodec, ConvertedType, Encoding, LogicalType, PageType, Type, ZstdLevel,
};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::bounds::Bounds;
use super::codec::Compressor;
use super::hybrid::take_varint;
use super::kept_rows::KeptRows;
use super::order::Order;
use super::page::{Form, Survivors};
use super::plain::{Plain, Width};
use super::{Result, corrupt};

/// Longest bound, in bytes, that is kept whole.
const BOUND_BYTES: usize = 64;

/// A column chunk of a file with a page index.
#[derive(Debug)]
pub struct ColumnChunk<'a, R> {
    /// Has at least the chunk's bytes, at their places in the file.
    pub bytes: &'a Arc<R>,
    pub metadata: &'a ColumnChunkMetaData,
    pub offset_index: &'a OffsetIndexMetaData,
}

impl<R: ChunkReader> ColumnChunk<'_, R> {
    fn read(&self, start: i64, length: i64) -> Result<Bytes> {
        let start = u64::try_from(start).map_err(|e| corrupt(&e.to_string()))?;
        let length = usize::try_from(length).map_err(|e| corrupt(&e.to_string()))?;
        self.bytes.get_bytes(start, length)
    }
}

/// What is left of a column chunk, as [`append_column`] takes it.
///
/// [`append_column`]: parquet::file::writer::SerializedRowGroupWriter::append_column
#[derive(Debug)]
pub struct Retained {
    pub bytes: Bytes,
    pub nulls: u64,
    pub close: ColumnCloseResult,
}

/// Whether [`retain`] knows such column chunks.
pub fn is_supported(metadata: &ColumnChunkMetaData) -> bool {
    let is_known = |encoding: &Encoding| {
        matches!(
            encoding,
            Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY | Encoding::RLE
        )
    };
    let codec = metadata.compression_codec();
    form(metadata).is_some()
        && metadata.encodings().all(|encoding| is_known(&encoding))
        && matches!(codec, CompressionCodec::UNCOMPRESSED | CompressionCodec::SNAPPY | CompressionCodec::ZSTD)
}

fn form(metadata: &ColumnChunkMetaData) -> Option<Form> {
    let column = metadata.column_descr();
    let (order, width) = (Order::of(column)?, Width::of(column)?);
    let is_flat = column.max_rep_level() == 0 && column.max_def_level() <= 1;
    let is_text = matches!(column.logical_type_ref(), Some(LogicalType::String))
        || column.converted_type() == ConvertedType::UTF8;
    is_flat.then_some(Form { order, width, is_optional: column.max_def_level() == 1, is_text })
}

/// The column chunk with only the rows that are `kept`, compressed as it was (`zstd`: the level of zstd). `None`: it
/// is of a kind that is not known here. Fails for bytes that are no column chunk.
pub fn retain<R: ChunkReader>(
    chunk: &ColumnChunk<'_, R>,
    kept: &KeptRows,
    zstd: ZstdLevel,
) -> Result<Option<Retained>> {
    let codec = chunk.metadata.compression_codec();
    let compressor = Compressor::of(codec, zstd.compression_level())?;
    let (Some(form), Some(compressor)) = (form(chunk.metadata), compressor) else { return Ok(None) };
    let locations = chunk.offset_index.page_locations();
    let pages = SerializedPageReader::new(
        chunk.bytes.clone(),
        chunk.metadata,
        kept.total(),
        Some(locations.clone()),
    )?;
    let mut new = NewChunk::new(chunk.metadata, form, compressor);
    let mut locations = locations.iter();
    let mut first = 0;
    for page in pages {
        match page? {
            Page::DictionaryPage { buf, num_values, encoding, .. } => {
                let (start, end) =
                    (chunk.metadata.dictionary_page_offset(), chunk.metadata.data_page_offset());
                let start = start.ok_or_else(|| corrupt("a dictionary that is not in the footer"))?;
                new.dictionary(&chunk.read(start, end - start)?, buf, num_values, encoding)?;
            }
            Page::DataPage { buf, num_values, encoding, def_level_encoding: Encoding::RLE, .. } => {
                let location = locations.next().ok_or_else(|| corrupt("it is not in the page index"))?;
                let rows = first..first + num_values as usize;
                first = rows.end;
                if rows.end > kept.total() {
                    return Err(corrupt("it has more rows than the row group"));
                }
                let here = kept.within(&rows);
                if here.is_empty() {
                    continue;
                }
                let Some(left) = Survivors::of(&buf, encoding, rows.len(), here, form)? else {
                    return Ok(None);
                };
                if left.rows == rows.len() {
                    let bytes = chunk.read(location.offset, location.compressed_page_size.into())?;
                    new.whole_page(&bytes, buf.len(), encoding, &left)?;
                } else {
                    new.page(encoding, &left)?;
                }
            }
            _ => return Ok(None),
        }
    }
    if first != kept.total() {
        return Err(corrupt("pages have other rows than the row group"));
    }
    new.close(chunk.metadata, kept.count()).map(Some)
}

/// A column chunk that is put together.
struct NewChunk {
    form: Form,
    compressor: Compressor,
    sink: TrackedWrite<Vec<u8>>,
    dictionary: Option<Plain>,
    dictionary_offset: Option<u64>,
    data_offset: Option<u64>,
    uncompressed_bytes: usize,
    encodings: Vec<PageEncodingStats>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    nulls: usize,
    variable_bytes: i64,
    bounds: Option<Bounds>,
    /// Those of the page before, as the page index has them.
    last: Option<Bounds>,
    ascends: bool,
    descends: bool,
}

impl NewChunk {
    fn new(metadata: &ColumnChunkMetaData, form: Form, compressor: Compressor) -> Self {
        Self {
            form,
            compressor,
            sink: TrackedWrite::new(Vec::new()),
            dictionary: None,
            dictionary_offset: None,
            data_offset: None,
            uncompressed_bytes: 0,
            encodings: Vec::new(),
            column_index: ColumnIndexBuilder::new(metadata.column_type()),
            offset_index: OffsetIndexBuilder::new(),
            nulls: 0,
            variable_bytes: 0,
            bounds: None,
            last: None,
            ascends: true,
            descends: true,
        }
    }

    /// The dictionary stays as it is. `page`: its header and its compressed bytes.
    fn dictionary(&mut self, page: &Bytes, values: Bytes, count: u32, encoding: Encoding) -> Result<()> {
        self.dictionary_offset = Some(self.copy(page, values.len(), PageType::DICTIONARY_PAGE, encoding)?);
        self.dictionary = Some(Plain::new(values, self.form.width, count as usize)?);
        Ok(())
    }

    /// A page of which every row stays.
    fn whole_page(
        &mut self,
        page: &Bytes,
        uncompressed: usize,
        encoding: Encoding,
        left: &Survivors,
    ) -> Result<()> {
        let offset = self.copy(page, uncompressed, PageType::DATA_PAGE, encoding)?;
        self.data_page(offset, page.len(), left)
    }

    /// A page of which rows go.
    fn page(&mut self, encoding: Encoding, left: &Survivors) -> Result<()> {
        let bytes = left.encode()?;
        let size = bytes.len();
        let page = Page::DataPage {
            buf: self.compressor.compress(bytes)?.into(),
            num_values: u32::try_from(left.rows).map_err(|e| corrupt(&e.to_string()))?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written =
            SerializedPageWriter::new(&mut self.sink).write_page(CompressedPage::new(page, size))?;
        self.uncompressed_bytes += written.uncompressed_size;
        self.count(PageType::DATA_PAGE, encoding);
        self.data_page(written.offset, written.compressed_size, left)
    }

    /// Returns where the page is.
    fn copy(&mut self, page: &Bytes, uncompressed: usize, kind: PageType, encoding: Encoding) -> Result<u64> {
        let header = header_bytes(page)?;
        let offset = self.sink.bytes_written() as u64;
        self.sink.write_all(page)?;
        self.uncompressed_bytes += header + uncompressed;
        self.count(kind, encoding);
        Ok(offset)
    }

    fn count(&mut self, page_type: PageType, encoding: Encoding) {
        match self.encodings.last_mut() {
            Some(last) if last.page_type == page_type && last.encoding == encoding => last.count += 1,
            _ => self.encodings.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
    }

    /// Says where a data page is and what it has.
    fn data_page(&mut self, offset: u64, size: usize, left: &Survivors) -> Result<()> {
        let Form { order, width, .. } = self.form;
        self.data_offset.get_or_insert(offset);
        let signed = |number: usize| i64::try_from(number).map_err(|e| corrupt(&e.to_string()));
        let size = i32::try_from(size).map_err(|e| corrupt(&e.to_string()))?;
        self.offset_index
            .append_offset_and_size(i64::try_from(offset).map_err(|e| corrupt(&e.to_string()))?, size);
        self.offset_index.append_row_count(signed(left.rows)?);
        self.nulls += left.nulls;
        let (bounds, variable_bytes) = left.measure(self.dictionary.as_ref(), order)?;
        if width == Width::Variable {
            let bytes = variable_bytes.unwrap_or_default();
            self.variable_bytes += bytes;
            self.offset_index.append_unencoded_byte_array_data_bytes(Some(bytes));
        }
        let nulls = signed(left.nulls)?;
        if left.nulls == left.rows {
            self.column_index.append(true, vec![], vec![], nulls);
            return Ok(());
        }
        let Some(bounds) = bounds else {
            // Nothing but NaN.
            self.column_index.to_invalid();
            return Ok(());
        };
        match &mut self.bounds {
            Some(all) => all.widen(&bounds, order),
            None => self.bounds = Some(bounds.clone()),
        }
        let (bounds, _) = bounds.shortened(BOUND_BYTES, self.form.is_text);
        self.column_index.append(false, bounds.min.clone(), bounds.max.clone(), nulls);
        if let Some(last) = &self.last {
            self.ascends &= bounds.ascend_from(last, order);
            self.descends &= last.ascend_from(&bounds, order);
        }
        self.last = Some(bounds);
        Ok(())
    }

    fn close(mut self, old: &ColumnChunkMetaData, rows: usize) -> Result<Retained> {
        self.column_index.set_boundary_order(match (self.ascends, self.descends) {
            (true, _) => BoundaryOrder::ASCENDING,
            (_, true) => BoundaryOrder::DESCENDING,
            _ => BoundaryOrder::UNORDERED,
        });
        let signed = |number: u64| i64::try_from(number).map_err(|e| corrupt(&e.to_string()));
        let bytes = Bytes::from(self.sink.into_inner()?);
        let (size, rows) = (bytes.len() as u64, rows as u64);
        let metadata = ColumnChunkMetaData::builder(old.column_descr_ptr())
            .set_compression_codec(old.compression_codec())
            .set_encodings_mask(*old.encodings_mask())
            .set_page_encoding_stats(self.encodings)
            .set_total_compressed_size(signed(size)?)
            .set_total_uncompressed_size(signed(self.uncompressed_bytes as u64)?)
            .set_num_values(signed(rows)?)
            .set_data_page_offset(signed(self.data_offset.unwrap_or_default())?)
            .set_dictionary_page_offset(self.dictionary_offset.map(signed).transpose()?)
            .set_statistics(statistics(old, self.bounds, self.nulls as u64, self.form)?)
            .set_unencoded_byte_array_data_bytes(
                (self.form.width == Width::Variable).then_some(self.variable_bytes),
            )
            .build()?;
        let column_index = self.column_index.valid().then(|| self.column_index.build()).transpose()?;
        let offset_index = Some(self.offset_index.build());
        let close = ColumnCloseResult {
            bytes_written: size,
            rows_written: rows,
            metadata,
            bloom_filter: None,
            column_index,
            offset_index,
        };
        Ok(Retained { bytes, nulls: self.nulls as u64, close })
    }
}

fn statistics(
    old: &ColumnChunkMetaData,
    bounds: Option<Bounds>,
    nulls: u64,
    form: Form,
) -> Result<Statistics> {
    let shortened = bounds.map(|bounds| bounds.shortened(BOUND_BYTES, form.is_text));
    let (bounds, [min_is_exact, max_is_exact]) = match shortened {
        Some((bounds, are_values)) => (Some(bounds), are_values),
        None => (None, [false, false]),
    };
    let (min, max) = bounds.map(|bounds| (bounds.min, bounds.max)).unzip();
    let is_signed = old.column_descr().sort_order().is_signed();
    macro_rules! of {
        ($value:expr) => {{
            let value = |bound: Option<Vec<u8>>| bound.map($value).transpose();
            ValueStatistics::new(value(min)?, value(max)?, None, Some(nulls), false)
                .with_backwards_compatible_min_max(is_signed)
                .with_min_is_exact(min_is_exact)
                .with_max_is_exact(max_is_exact)
                .into()
        }};
    }
    Ok(match old.column_type() {
        Type::INT32 => of!(|v| number(&v).map(i32::from_le_bytes)),
        Type::INT64 => of!(|v| number(&v).map(i64::from_le_bytes)),
        Type::FLOAT => of!(|v| number(&v).map(f32::from_le_bytes)),
        Type::DOUBLE => of!(|v| number(&v).map(f64::from_le_bytes)),
        Type::BYTE_ARRAY => of!(|v| Ok::<_, ParquetError>(ByteArray::from(v))),
        Type::FIXED_LEN_BYTE_ARRAY => of!(|v| Ok::<_, ParquetError>(FixedLenByteArray::from(v))),
        Type::BOOLEAN | Type::INT96 => return Err(corrupt("a bound of this type is not known")),
    })
}

fn number<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| corrupt("a bound of another length"))
}

/// Length of a page's header. It begins with its type and its sizes (`PageHeader` in the format's `parquet.thrift`),
/// in the compact protocol: each a number in zigzag behind a byte that says so.
fn header_bytes(page: &[u8]) -> Result<usize> {
    const NEXT_I32: u8 = 0x15;
    let mut rest = page;
    let mut compressed = 0;
    for _ in 0..3 {
        if rest.split_off_first() != Some(&NEXT_I32) {
            return Err(corrupt("its header begins with something else"));
        }
        compressed = take_varint(&mut rest)? >> 1;
    }
    let compressed = usize::try_from(compressed).map_err(|e| corrupt(&e.to_string()))?;
    page.len().checked_sub(compressed).ok_or_else(|| corrupt("it is cut off"))
}
