//! Texts that were parsed before: drivers, pools and tools send the same few all day, and parsing is most of
//! what a statement like `SELECT 1` costs.

use std::sync::Arc;

use moka::sync::Cache;

use super::{Parsed, parse};
use crate::error::Result;

/// Longer texts are rarely sent twice, bytes.
const LONGEST: usize = 16 * 1024;
/// What the kept ones may take, bytes.
const BUDGET: u64 = 16 << 20;

/// Statements by the text of their query string. What a text means does not depend on the session.
#[derive(Debug)]
pub struct KnownTexts(Cache<Arc<str>, Arc<[Parsed]>>);

impl Default for KnownTexts {
    fn default() -> Self {
        // A syntax tree has a box for each word or so of its text, with copies of the constants.
        let weight = |text: &str| u32::try_from(1_024 + 64 * text.len()).unwrap_or(u32::MAX);
        let texts = Cache::builder().weigher(move |text: &Arc<str>, _: &Arc<[Parsed]>| weight(text));
        Self(texts.max_capacity(BUDGET).build())
    }
}

impl KnownTexts {
    /// As [`parse`].
    pub fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        if text.len() > LONGEST {
            return parse(text);
        }
        if let Some(known) = self.0.get(text) {
            return Ok(known.to_vec());
        }
        let parsed = parse(text)?;
        self.0.insert(text.into(), parsed.as_slice().into());
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once() {
        let texts = KnownTexts::default();
        let [first, again, other] = ["select 1; select 2", "select 1; select 2", "select 1;  select 2"]
            .map(|text| texts.parse(text).unwrap());
        assert_eq!(first.len(), 2);
        assert!(first.iter().zip(&again).all(|(a, b)| Arc::ptr_eq(&a.statement, &b.statement)));
        assert!(!Arc::ptr_eq(&first[0].statement, &other[0].statement));
        assert!(texts.parse("selec 1").is_err() && texts.parse("selec 1").is_err());
    }
}
