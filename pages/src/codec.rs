//! Compression of pages.

use std::io;

use parquet::basic::CompressionCodec;
use parquet::errors::ParquetError;

use super::Result;

/// Compresses page after page.
pub enum Compressor {
    None,
    Snappy(Box<snap::raw::Encoder>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// `None`: not by this codec. `level`: that of zstd.
    pub fn of(codec: CompressionCodec, level: i32) -> io::Result<Option<Self>> {
        Ok(match codec {
            CompressionCodec::UNCOMPRESSED => Some(Self::None),
            CompressionCodec::SNAPPY => Some(Self::Snappy(Box::new(snap::raw::Encoder::new()))),
            CompressionCodec::ZSTD => Some(Self::Zstd(zstd::bulk::Compressor::new(level)?)),
            _ => None,
        })
    }

    pub fn compress(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Snappy(encoder) => {
                encoder.compress_vec(&bytes).map_err(|e| ParquetError::External(Box::new(e)))
            }
            Self::Zstd(compressor) => Ok(compressor.compress(&bytes)?),
        }
    }
}
