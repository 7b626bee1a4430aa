//! Values as Postgres' output functions write them, and the functions that join such texts: `concat`,
//! `concat_ws`, `array_to_string`, `format` (manual 9.4 and 9.19).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ScalarUDF, Volatility};

use super::columnar::{Columnar, ColumnarFunction, Columns, is_text};
use super::function::error;
use super::json::value::Json;
use super::numeric::INEXACT;
use super::string::{quote_ident, quote_text};
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;
use crate::types::text_style::{TextStyle, is_bytea};

pub const FUNCTIONS: &[Columnar] = &[
    function("concat", |types| any(types, 0), concat),
    function("concat_ws", |types| any(types, 1).filter(|_| !types.is_empty()), concat_ws),
    function(
        "array_to_string",
        |types| match types {
            [list @ DataType::List(_), rest @ ..]
                if matches!(rest.len(), 1 | 2) && rest.iter().all(is_text) =>
            {
                Some([vec![list.clone()], vec![DataType::Utf8; rest.len()]].concat())
            }
            _ => None,
        },
        array_to_string,
    ),
    function("format", |types| any(types, 1).filter(|_| !types.is_empty()), format),
    // For casts.
    function("textout", |types| (types.len() == 1).then(|| types.to_vec()), textout),
];

/// How the session has bytes and floating point numbers written.
fn style(options: &ConfigOptions) -> TextStyle {
    SessionInfo::of(options).map_or_else(TextStyle::default, |info| TextStyle::of(&info.settings.read()))
}

fn textout(columns: &Columns<'_>) -> Result<ArrayRef> {
    let array = columns.array(0)?;
    if is_bytea(array.data_type()) {
        return Ok(style(columns.options).bytes(array)?);
    }
    let columns = &styled(columns)?;
    rows(columns, |i| text(columns.options, columns.array(0)?, i))
}

/// The arguments with what settings have written otherwise as text.
fn styled<'a>(columns: &Columns<'a>) -> Result<Columns<'a>> {
    let style = style(columns.options);
    let styled = |array: &ArrayRef| Ok(style.texts(array)?.unwrap_or_else(|| array.clone()));
    let arrays = columns.arrays.iter().map(styled).collect::<Result<_>>()?;
    Ok(Columns { arrays, ..*columns })
}

static TEXTOUT: LazyLock<Option<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let definition = FUNCTIONS.iter().find(|definition| definition.name == "textout")?;
    Some(Arc::new(ScalarUDF::new_from_impl(ColumnarFunction::new(definition))))
});

/// The expression that writes a value of the type as text, if arrow's own cast writes it otherwise.
pub fn written(value: &Expr, data_type: &DataType) -> Option<Expr> {
    let differs = match data_type {
        DataType::Timestamp(..)
        | DataType::Date32
        | DataType::Date64
        | DataType::Interval(_)
        | DataType::Duration(_)
        | DataType::List(_)
        | DataType::LargeList(_) => true,
        other if *other == INEXACT => true,
        other => other.is_floating() || other.is_binary(),
    };
    let function = TEXTOUT.as_ref().filter(|_| differs)?;
    Some(function.call(vec![value.clone()]))
}

const fn function(
    name: &'static str,
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    eval: fn(&Columns<'_>) -> Result<ArrayRef>,
) -> Columnar {
    Columnar { name, volatility: Volatility::Stable, arguments, returns: |_, _| Ok(DataType::Utf8), eval }
}

/// Arguments of any type; the first ones are texts.
fn any(types: &[DataType], texts: usize) -> Option<Vec<DataType>> {
    let known = types.iter().take(texts).all(is_text);
    let plain = |t: &DataType| if is_text(t) { DataType::Utf8 } else { t.clone() };
    known.then(|| types.iter().map(plain).collect())
}

/// The text of a value; `None`: NULL.
pub fn text(options: &ConfigOptions, array: &ArrayRef, at: usize) -> Result<Option<String>> {
    if array.is_null(at) || array.data_type().is_null() {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(at).to_string(),
        DataType::Boolean => if array.as_boolean().value(at) { "t" } else { "f" }.to_string(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            list_text(options, array, at)?
        }
        inexact if *inexact == INEXACT => {
            let number = array.as_primitive::<Decimal256Type>().value_as_string(at);
            number.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        DataType::Struct(_) | DataType::Map(..) => {
            let mut out = String::new();
            let field = Field::new("", array.data_type().clone(), true);
            Json::new(options).put(array, &field, at, &mut out)?;
            out
        }
        _ => Json::new(options).text(array, at, ' ')?,
    }))
}

fn items(array: &ArrayRef, at: usize) -> Result<ArrayRef> {
    let one = array.slice(at, 1);
    let item = match one.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.clone(),
        _ => return Ok(one),
    };
    Ok(cast(&one, &DataType::List(item))?.as_list::<i32>().value(0))
}

/// `{1,"two words",NULL}` (manual 8.15.6).
fn list_text(options: &ConfigOptions, array: &ArrayRef, at: usize) -> Result<String> {
    let items = items(array, at)?;
    let mut out = String::from("{");
    for i in 0..items.len() {
        if i > 0 {
            out.push(',');
        }
        match text(options, &items, i)? {
            None => out.push_str("NULL"),
            Some(text) if items.data_type().is_nested() => out.push_str(&text),
            Some(text) => {
                let special = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\');
                if text.is_empty() || text.contains(special) || text.eq_ignore_ascii_case("null") {
                    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
                    out.push_str(&format!("\"{escaped}\""));
                } else {
                    out.push_str(&text);
                }
            }
        }
    }
    out.push('}');
    Ok(out)
}

fn rows(columns: &Columns<'_>, row: impl Fn(usize) -> Result<Option<String>>) -> Result<ArrayRef> {
    let texts = (0..columns.rows).map(row).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StringArray::from(texts)))
}

fn concat(columns: &Columns<'_>) -> Result<ArrayRef> {
    let columns = &styled(columns)?;
    rows(columns, |i| {
        let mut out = String::new();
        for array in &columns.arrays {
            out.push_str(&text(columns.options, array, i)?.unwrap_or_default());
        }
        Ok(Some(out))
    })
}

fn concat_ws(columns: &Columns<'_>) -> Result<ArrayRef> {
    let columns = &styled(columns)?;
    rows(columns, |i| {
        let Some(separator) = text(columns.options, columns.array(0)?, i)? else { return Ok(None) };
        let texts = columns.arrays.iter().skip(1).map(|array| text(columns.options, array, i));
        let texts: Vec<_> = texts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        Ok(Some(texts.join(&separator)))
    })
}

/// Appends the items of every dimension.
fn put_items(
    options: &ConfigOptions,
    items: &ArrayRef,
    null: Option<&str>,
    out: &mut Vec<String>,
) -> Result<()> {
    for i in 0..items.len() {
        if items.data_type().is_nested()
            && !items.is_null(i)
            && !matches!(items.data_type(), DataType::Struct(_))
        {
            put_items(options, &self::items(items, i)?, null, out)?;
        } else if let Some(text) = text(options, items, i)?.or_else(|| null.map(str::to_string)) {
            out.push(text);
        }
    }
    Ok(())
}

fn array_to_string(columns: &Columns<'_>) -> Result<ArrayRef> {
    let columns = &styled(columns)?;
    rows(columns, |i| {
        let list = columns.array(0)?;
        let Some(separator) = text(columns.options, columns.array(1)?, i)? else { return Ok(None) };
        if list.is_null(i) {
            return Ok(None);
        }
        let null = if columns.arrays.len() > 2 { text(columns.options, columns.array(2)?, i)? } else { None };
        let mut texts = Vec::new();
        put_items(columns.options, &items(list, i)?, null.as_deref(), &mut texts)?;
        Ok(Some(texts.join(&separator)))
    })
}

/// A specifier of `format`: `%[position$][flags][width]type`.
struct Specifier {
    position: Option<usize>,
    left: bool,
    width: Option<Width>,
    kind: char,
}

enum Width {
    Given(usize),
    /// Of an argument: the next one, or that of a position.
    Argument(Option<usize>),
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>> {
    let mut digits = String::new();
    while let Some(digit) = chars.peek().copied().filter(char::is_ascii_digit) {
        chars.next();
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().map(Some).map_err(|_| error("22003", "number is out of range"))
}

fn zero_position() -> datafusion::error::DataFusionError {
    error("22023", "format specifies argument 0, but arguments are numbered from 1")
}

fn specifier(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Specifier> {
    let mut specifier = Specifier { position: None, left: false, width: None, kind: '%' };
    if let Some(number) = digits(chars)? {
        if chars.next_if_eq(&'$').is_some() {
            if number == 0 {
                return Err(zero_position());
            }
            specifier.position = Some(number);
        } else {
            specifier.width = Some(Width::Given(number));
        }
    }
    if specifier.width.is_none() {
        while chars.next_if_eq(&'-').is_some() {
            specifier.left = true;
        }
        if chars.next_if_eq(&'*').is_some() {
            let position = digits(chars)?;
            if position == Some(0) {
                return Err(zero_position());
            }
            if position.is_some() && chars.next_if_eq(&'$').is_none() {
                return Err(error("22023", "width argument position must be ended by \"$\""));
            }
            specifier.width = Some(Width::Argument(position));
        } else if let Some(number) = digits(chars)? {
            specifier.width = Some(Width::Given(number));
        }
    }
    specifier.kind = chars.next().ok_or_else(|| error("22023", "unterminated format() type specifier"))?;
    Ok(specifier)
}

/// Widest that a value is padded to.
const WIDEST: usize = 1 << 20;

fn format(columns: &Columns<'_>) -> Result<ArrayRef> {
    let columns = &styled(columns)?;
    rows(columns, |i| {
        let Some(pattern) = text(columns.options, columns.array(0)?, i)? else { return Ok(None) };
        let argument = |at: usize| {
            let array =
                columns.arrays.get(at).ok_or_else(|| error("22023", "too few arguments for format()"))?;
            text(columns.options, array, i)
        };
        let mut out = String::new();
        let mut next = 1;
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            if chars.next_if_eq(&'%').is_some() {
                out.push('%');
                continue;
            }
            let Specifier { position, mut left, width, kind } = specifier(&mut chars)?;
            let width = match width {
                None => 0,
                Some(Width::Given(width)) => width,
                Some(Width::Argument(at)) => {
                    let at = at.unwrap_or(next);
                    next = at + 1;
                    let width: i64 = argument(at)?.map_or(Ok(0), |text| {
                        text.parse().map_err(|_| {
                            error("22P02", format!("invalid input syntax for type integer: \"{text}\""))
                        })
                    })?;
                    left |= width < 0;
                    usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX)
                }
            };
            if width > WIDEST {
                return Err(error("54000", format!("a width of more than {WIDEST} is not supported")));
            }
            let at = position.unwrap_or(next);
            next = at + 1;
            let value =
                match kind {
                    's' => argument(at)?.unwrap_or_default(),
                    'I' => quote_ident(&argument(at)?.ok_or_else(|| {
                        error("22004", "null values cannot be formatted as an SQL identifier")
                    })?),
                    'L' => argument(at)?.map_or_else(|| "NULL".to_string(), |text| quote_text(&text)),
                    other => {
                        let message = format!("unrecognized format() type specifier \"{other}\"");
                        return Err(error("22023", message));
                    }
                };
            let padding = " ".repeat(width.saturating_sub(value.chars().count()));
            if left {
                out.push_str(&value);
                out.push_str(&padding);
            } else {
                out.push_str(&padding);
                out.push_str(&value);
            }
        }
        Ok(Some(out))
    })
}
