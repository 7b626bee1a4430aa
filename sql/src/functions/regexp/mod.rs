//! Functions of regular expressions (manual 9.7.3), positions counted in characters.

pub mod pattern;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;
use regex::{Captures, Regex};

use self::pattern::{Options, compile, of_similar, translate};
use super::columnar::{Columnar, Columns, is_text};
use super::function::error;

pub const FUNCTIONS: &[Columnar] = &[
    function("regexp_match", |t| texts(t, 2, 3), |_, _| Ok(text_list()), regexp_match),
    function(
        "regexp_matches",
        |t| texts(t, 2, 3),
        |_, _| Ok(DataType::new_list(text_list(), true)),
        regexp_matches,
    ),
    function("regexp_split_to_array", |t| texts(t, 2, 3), |_, _| Ok(text_list()), split_to_array),
    function("regexp_like", |t| texts(t, 2, 3), |_, _| Ok(DataType::Boolean), regexp_like),
    function("regexp_replace", replace_arguments, |_, _| Ok(DataType::Utf8), regexp_replace),
    function("regexp_count", |t| wanted(t, "ttit"), |_, _| Ok(DataType::Int32), regexp_count),
    function("regexp_instr", |t| wanted(t, "ttiiiti"), |_, _| Ok(DataType::Int32), regexp_instr),
    function("regexp_substr", |t| wanted(t, "ttiiti"), |_, _| Ok(DataType::Utf8), regexp_substr),
    function("textregexsubstr", |t| texts(t, 2, 2), |_, _| Ok(DataType::Utf8), substring),
    // For operators: the expression as DataFusion's operators read it.
    function(
        "regex_in",
        |t| texts(t, 1, 1),
        |_, _| Ok(DataType::Utf8),
        |columns| {
            each_text(columns, |pattern, _| {
                compile(pattern, Options::default())?;
                Ok(translate(pattern, Options::default())?.0)
            })
        },
    ),
    function("similar_to_escape", |t| texts(t, 1, 2), |_, _| Ok(DataType::Utf8), similar_to_escape),
];

const fn function(
    name: &'static str,
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    returns: fn(&[DataType], &[Option<&datafusion::scalar::ScalarValue>]) -> Result<DataType>,
    eval: fn(&Columns<'_>) -> Result<ArrayRef>,
) -> Columnar {
    Columnar { name, volatility: Volatility::Immutable, arguments, returns, eval }
}

fn text_list() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

fn texts(types: &[DataType], least: usize, greatest: usize) -> Option<Vec<DataType>> {
    let fits = (least..=greatest).contains(&types.len()) && types.iter().all(is_text);
    fits.then(|| vec![DataType::Utf8; types.len()])
}

/// `t`: a text, `i`: an integer. At least the first two.
fn wanted(types: &[DataType], letters: &str) -> Option<Vec<DataType>> {
    if types.len() < 2 || types.len() > letters.len() {
        return None;
    }
    let pairs = types.iter().zip(letters.chars());
    pairs
        .map(|(given, letter)| match letter {
            't' if is_text(given) => Some(DataType::Utf8),
            'i' if given.is_integer() || given.is_null() => Some(DataType::Int32),
            _ => None,
        })
        .collect()
}

/// Options, or start, number and options, after three texts.
fn replace_arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let (first, rest) = types.split_at_checked(3)?;
    let first = texts(first, 3, 3)?;
    let rest = match rest {
        [] => Vec::new(),
        [options] if is_text(options) => vec![DataType::Utf8],
        rest => wanted(&[vec![DataType::Utf8; 2], rest.to_vec()].concat(), "ttiit")?.split_off(2),
    };
    Some([first, rest].concat())
}

/// The last expression that was compiled.
#[derive(Default)]
struct Compiled {
    source: Option<(String, String)>,
    regex: Option<(Regex, Options)>,
}

impl Compiled {
    fn of(&mut self, pattern: &str, options: &str) -> Result<&(Regex, Options)> {
        let same = self.source.as_ref().is_some_and(|(p, o)| p == pattern && o == options);
        if !same {
            self.regex = None;
        }
        if self.regex.is_none() {
            let read = Options::read(options)?;
            let (_, read) = translate(pattern, read)?;
            self.regex = Some((compile(pattern, read)?, read));
            self.source = Some((pattern.to_string(), options.to_string()));
        }
        self.regex.as_ref().ok_or_else(|| error("XX000", "no regular expression"))
    }
}

/// One row of a call.
struct Call<'a> {
    columns: &'a Columns<'a>,
    at: usize,
}

impl Call<'_> {
    fn text(&self, i: usize) -> Result<&str> {
        Ok(self.columns.text(i)?.value(self.at))
    }

    /// An integer argument; `default` where there is none.
    fn integer(&self, i: usize, default: i32) -> i32 {
        let array = self.columns.arrays.get(i).and_then(|array| array.as_primitive_opt::<Int32Type>());
        array.map_or(default, |array| array.value(self.at))
    }

    fn options(&self, i: usize) -> Result<&str> {
        if i < self.columns.arrays.len() { self.text(i) } else { Ok("") }
    }

    /// An argument that counts from 1.
    fn position(&self, i: usize, name: &str) -> Result<usize> {
        match usize::try_from(self.integer(i, 1)) {
            Ok(value) if value > 0 => Ok(value),
            _ => Err(bad(name, self.integer(i, 1))),
        }
    }

    fn at_least_zero(&self, i: usize, name: &str) -> Result<usize> {
        usize::try_from(self.integer(i, 0)).map_err(|_| bad(name, self.integer(i, 0)))
    }
}

fn bad(name: &str, value: i32) -> datafusion::error::DataFusionError {
    error("22023", format!("invalid value for parameter \"{name}\": {value}"))
}

/// Computes each row that has no NULL argument.
fn rows<T>(
    columns: &Columns<'_>,
    mut row: impl FnMut(&Call<'_>) -> Result<Option<T>>,
) -> Result<Vec<Option<T>>> {
    (0..columns.rows)
        .map(|at| {
            if columns.arrays.iter().any(|array| array.is_null(at)) {
                return Ok(None);
            }
            row(&Call { columns, at })
        })
        .collect()
}

fn each_text(columns: &Columns<'_>, of: impl Fn(&str, &Call<'_>) -> Result<String>) -> Result<ArrayRef> {
    let values = rows(columns, |call| of(call.text(0)?, call).map(Some))?;
    Ok(Arc::new(StringArray::from(values)))
}

/// What `regexp_match` gives of a match: its groups, or the whole if there are none.
fn groups(captures: &Captures<'_>) -> Vec<Option<String>> {
    let text = |i: usize| captures.get(i).map(|found| found.as_str().to_string());
    if captures.len() == 1 { vec![text(0)] } else { (1..captures.len()).map(text).collect() }
}

fn lists(values: Vec<Option<Vec<Option<String>>>>) -> ArrayRef {
    let mut out = ListBuilder::new(StringBuilder::new());
    for value in values {
        out.append_option(value);
    }
    Arc::new(out.finish())
}

fn not_global(options: Options, name: &str) -> Result<()> {
    if options.global {
        return Err(error("22023", format!("{name}() does not support the \"global\" option")));
    }
    Ok(())
}

fn regexp_match(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    Ok(lists(rows(columns, |call| {
        let (regex, options) = compiled.of(call.text(1)?, call.options(2)?)?;
        not_global(*options, "regexp_match")?;
        Ok(regex.captures(call.text(0)?).map(|captures| groups(&captures)))
    })?))
}

fn regexp_matches(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (regex, options) = compiled.of(call.text(1)?, call.options(2)?)?;
        let most = if options.global { usize::MAX } else { 1 };
        Ok(Some(
            regex.captures_iter(call.text(0)?).take(most).map(|found| groups(&found)).collect::<Vec<_>>(),
        ))
    })?;
    let mut out = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for value in values {
        out.append_option(value.map(|all| all.into_iter().map(Some)));
    }
    Ok(Arc::new(out.finish()))
}

fn split_to_array(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    Ok(lists(rows(columns, |call| {
        let (regex, options) = compiled.of(call.text(1)?, call.options(2)?)?;
        not_global(*options, "regexp_split_to_array")?;
        let text = call.text(0)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for found in regex.find_iter(text) {
            // An empty match at an end, or right after the last one, splits nothing.
            if found.is_empty() && (found.start() == start || found.end() == text.len()) {
                continue;
            }
            parts.push(text.get(start..found.start()).map(str::to_string));
            start = found.end();
        }
        parts.push(text.get(start..).map(str::to_string));
        Ok(Some(parts))
    })?))
}

fn regexp_like(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (regex, options) = compiled.of(call.text(1)?, call.options(2)?)?;
        not_global(*options, "regexp_like")?;
        Ok(Some(regex.is_match(call.text(0)?)))
    })?;
    Ok(Arc::new(BooleanArray::from(values)))
}

/// Where the text begins that is searched, in bytes. `None`: beyond its end.
fn from(text: &str, start: usize) -> Option<usize> {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.nth(start - 1)
}

/// The matches at or after a place, with their places in the whole text.
fn matches_from<'t>(regex: &'t Regex, text: &'t str, start: usize) -> impl Iterator<Item = Captures<'t>> {
    let mut next = from(text, start);
    std::iter::from_fn(move || {
        let captures = regex.captures_at(text, next?)?;
        let whole = captures.get(0)?;
        next = if whole.is_empty() {
            text.get(whole.end()..).and_then(|rest| rest.chars().next()).map(|c| whole.end() + c.len_utf8())
        } else {
            Some(whole.end())
        };
        Some(captures)
    })
}

fn regexp_count(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (regex, options) = compiled.of(call.text(1)?, call.options(3)?)?;
        not_global(*options, "regexp_count")?;
        let count = matches_from(regex, call.text(0)?, call.position(2, "start")?).count();
        Ok(i32::try_from(count).ok())
    })?;
    Ok(Arc::new(Int32Array::from(values)))
}

/// Characters before a place, and one.
fn character(text: &str, at: usize) -> Option<i32> {
    i32::try_from(text.get(..at)?.chars().count() + 1).ok()
}

fn regexp_instr(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (start, number) = (call.position(2, "start")?, call.position(3, "n")?);
        let end = match call.integer(4, 0) {
            0 => false,
            1 => true,
            other => return Err(bad("endoption", other)),
        };
        let group = call.at_least_zero(6, "subexpr")?;
        let (regex, options) = compiled.of(call.text(1)?, call.options(5)?)?;
        not_global(*options, "regexp_instr")?;
        let text = call.text(0)?;
        let found = matches_from(regex, text, start).nth(number - 1);
        let place =
            found.and_then(|captures| captures.get(group).map(|m| if end { m.end() } else { m.start() }));
        Ok(Some(place.and_then(|at| character(text, at)).unwrap_or(0)))
    })?;
    Ok(Arc::new(Int32Array::from(values)))
}

fn regexp_substr(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (start, number) = (call.position(2, "start")?, call.position(3, "n")?);
        let group = call.at_least_zero(5, "subexpr")?;
        let (regex, options) = compiled.of(call.text(1)?, call.options(4)?)?;
        not_global(*options, "regexp_substr")?;
        let found = matches_from(regex, call.text(0)?, start).nth(number - 1);
        Ok(found.and_then(|captures| captures.get(group).map(|m| m.as_str().to_string())))
    })?;
    Ok(Arc::new(StringArray::from(values)))
}

/// `substring(text FROM pattern)`: the first group, or the whole if there is none.
fn substring(columns: &Columns<'_>) -> Result<ArrayRef> {
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (regex, _) = compiled.of(call.text(1)?, "")?;
        Ok(regex.captures(call.text(0)?).and_then(|captures| groups(&captures).into_iter().next().flatten()))
    })?;
    Ok(Arc::new(StringArray::from(values)))
}

/// A replacement's parts: text, or the number of a group (0: the whole match).
fn parts(replacement: &str) -> Vec<std::result::Result<usize, String>> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let group = match chars.next() {
            Some('&') => 0,
            Some(digit @ '1'..='9') => {
                usize::try_from(digit.to_digit(10).unwrap_or_default()).unwrap_or_default()
            }
            Some('\\') | None => {
                text.push('\\');
                continue;
            }
            Some(other) => {
                text.extend(['\\', other]);
                continue;
            }
        };
        parts.push(Err(std::mem::take(&mut text)));
        parts.push(Ok(group));
    }
    parts.push(Err(text));
    parts
}

fn regexp_replace(columns: &Columns<'_>) -> Result<ArrayRef> {
    let with_start = columns.arrays.get(3).is_some_and(|array| !array.data_type().is_string());
    let mut compiled = Compiled::default();
    let values = rows(columns, |call| {
        let (text, replacement) = (call.text(0)?, parts(call.text(2)?));
        let (start, number, options) = if with_start {
            (call.position(3, "start")?, Some(call.at_least_zero(4, "n")?), call.options(5)?)
        } else {
            (1, None, call.options(3)?)
        };
        let counted = with_start && columns.arrays.len() > 4;
        let (regex, options) = compiled.of(call.text(1)?, options)?;
        // A number of 0: all of them.
        let wanted = match number {
            Some(0) if counted => None,
            Some(number) if counted => Some(number),
            _ if options.global => None,
            _ => Some(1),
        };
        let mut out = String::with_capacity(text.len());
        let mut last = 0;
        for (i, captures) in matches_from(regex, text, start).enumerate() {
            if wanted.is_some_and(|wanted| i + 1 < wanted) {
                continue;
            }
            let Some(whole) = captures.get(0) else { continue };
            out.push_str(text.get(last..whole.start()).unwrap_or_default());
            for part in &replacement {
                match part {
                    Err(text) => out.push_str(text),
                    Ok(group) => out.push_str(captures.get(*group).map_or("", |group| group.as_str())),
                }
            }
            last = whole.end();
            if wanted.is_some() {
                break;
            }
        }
        out.push_str(text.get(last..).unwrap_or_default());
        Ok(Some(out))
    })?;
    Ok(Arc::new(StringArray::from(values)))
}

fn similar_to_escape(columns: &Columns<'_>) -> Result<ArrayRef> {
    each_text(columns, |pattern, call| {
        let escape = if columns.arrays.len() < 2 {
            Some('\\')
        } else {
            let mut chars = call.text(1)?.chars();
            let escape = chars.next();
            if chars.next().is_some() {
                return Err(error("22019", "invalid escape string"));
            }
            escape
        };
        let regex = of_similar(pattern, escape)?;
        compile(&regex, Options::default())?;
        Ok(translate(&regex, Options::default())?.0)
    })
}
