//! What stays of a data page.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;

use super::bounds::Bounds;
use super::order::Order;
use super::plain::{Plain, Width};
use super::{Result, corrupt, hybrid};

/// How a column's pages are made.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub order: Order,
    pub width: Width,
    /// There are definition levels, of a single bit: 1 is a value, 0 is NULL.
    pub is_optional: bool,
    /// Of UTF-8.
    pub is_text: bool,
}

/// Rows of a page that stay.
#[derive(Debug)]
pub struct Survivors {
    /// Whether each has a value; `None`: there are no levels.
    levels: Option<Vec<u32>>,
    values: Values,
    pub rows: usize,
    pub nulls: usize,
}

#[derive(Debug)]
enum Values {
    /// Runs of those that there were.
    Plain { all: Plain, runs: Vec<Range<usize>> },
    /// References to the dictionary's entries, of so many bits.
    Dictionary { entries: Vec<u32>, bits: u8 },
}

impl Survivors {
    /// `bytes`: a page (of version 1) of `rows` rows, not compressed; `kept`: runs of those that stay. `None`: not of
    /// this encoding.
    pub fn of(
        bytes: &Bytes,
        encoding: Encoding,
        rows: usize,
        kept: Vec<Range<usize>>,
        form: Form,
    ) -> Result<Option<Self>> {
        let (levels, bytes) = match form.is_optional {
            true => {
                let length = bytes.first_chunk::<4>().ok_or_else(|| corrupt("levels are missing"))?;
                let end = 4 + u32::from_le_bytes(*length) as usize;
                let levels = bytes.get(4..end).ok_or_else(|| corrupt("levels are cut off"))?;
                (Some(hybrid::decode(levels, 1, rows)?), bytes.slice(end..))
            }
            false => (None, bytes.clone()),
        };
        let kept_rows = kept.iter().map(Range::len).sum();
        let (present, runs, kept_levels) = match levels {
            Some(levels) if levels.contains(&0) => {
                let (present, runs, kept_levels) = present(&levels, &kept);
                (present, runs, Some(kept_levels))
            }
            Some(_) => (rows, kept, Some(vec![1; kept_rows])),
            None => (rows, kept, None),
        };
        let kept_values: usize = runs.iter().map(Range::len).sum();
        let values = match encoding {
            Encoding::PLAIN => Values::Plain { all: Plain::new(bytes, form.width, present)?, runs },
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                let (bits, references) = match bytes.split_first() {
                    Some((bits, references)) => (*bits, references),
                    None => (0, &[][..]),
                };
                let all = hybrid::decode(references, bits, present)?;
                let mut entries = Vec::with_capacity(kept_values);
                for run in runs {
                    entries.extend_from_slice(all.get(run).unwrap_or_default());
                }
                Values::Dictionary { entries, bits }
            }
            _ => return Ok(None),
        };
        let nulls = kept_rows - kept_values;
        Ok(Some(Self { levels: kept_levels, values, rows: kept_rows, nulls }))
    }

    /// Bounds of the values, and the bytes that those of variable length have.
    pub fn measure(&self, dictionary: Option<&Plain>, order: Order) -> Result<(Option<Bounds>, Option<i64>)> {
        match &self.values {
            Values::Plain { all, runs } => {
                let bytes = runs.iter().map(|run| all.variable_bytes(run)).sum();
                Ok((Bounds::of_runs(all, runs, order), bytes))
            }
            Values::Dictionary { entries, .. } => {
                let missing = || corrupt("an entry of the dictionary is missing");
                let dictionary = match dictionary {
                    Some(dictionary) => dictionary,
                    None if entries.is_empty() => return Ok((None, None)),
                    None => return Err(missing()),
                };
                if entries.iter().any(|entry| *entry as usize >= dictionary.len()) {
                    return Err(missing());
                }
                let bytes = |entry: usize| dictionary.variable_bytes(&(entry..entry + 1));
                if entries.len() < dictionary.len() {
                    let used = || entries.iter().map(|entry| *entry as usize);
                    let bounds = Bounds::of(used().map(|entry| dictionary.value(entry)), order);
                    return Ok((bounds, used().map(bytes).sum()));
                }
                let mut times = vec![0_i64; dictionary.len()];
                for entry in entries {
                    *times.get_mut(*entry as usize).ok_or_else(missing)? += 1;
                }
                let used = || times.iter().enumerate().filter(|(_, times)| **times > 0);
                let bounds = Bounds::of(used().map(|(entry, _)| dictionary.value(entry)), order);
                Ok((bounds, used().map(|(entry, times)| Some(bytes(entry)? * times)).sum()))
            }
        }
    }

    /// The page, not compressed.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if let Some(levels) = &self.levels {
            out.extend([0; 4]);
            hybrid::encode(levels, 1, &mut out);
            let length = u32::try_from(out.len() - 4).map_err(|e| corrupt(&e.to_string()))?;
            out.iter_mut().zip(length.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        match &self.values {
            Values::Plain { all, runs } => {
                out.reserve_exact(runs.iter().map(|run| all.encoded(run).len()).sum());
                runs.iter().for_each(|run| out.extend_from_slice(all.encoded(run)));
            }
            Values::Dictionary { entries, bits } => {
                out.push(*bits);
                hybrid::encode(entries, *bits, &mut out);
            }
        }
        Ok(out)
    }
}

/// How many values a page with NULLs has, runs of those that stay, and the levels of the rows that do.
fn present(levels: &[u32], kept: &[Range<usize>]) -> (usize, Vec<Range<usize>>, Vec<u32>) {
    let (mut runs, mut kept_levels) = (Vec::with_capacity(kept.len()), Vec::with_capacity(levels.len()));
    let (mut row, mut value) = (0, 0);
    let count = |levels: &[u32]| levels.iter().sum::<u32>() as usize;
    for run in kept {
        value += count(levels.get(row..run.start).unwrap_or_default());
        let here = levels.get(run.clone()).unwrap_or_default();
        kept_levels.extend_from_slice(here);
        let end = value + count(here);
        runs.push(value..end);
        (row, value) = (run.end, end);
    }
    (value + count(levels.get(row..).unwrap_or_default()), runs, kept_levels)
}
