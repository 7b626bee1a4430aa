//! Arguments of a table function: locations first, options by name.

use std::collections::BTreeMap;

use arrow::array::Array;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, TableFunctionArgs,
};

use crate::error::{Error, Result, SqlState};
use crate::planner::{Scope, names};
use crate::session::vars::parse_bool;

/// Arguments of one call.
#[derive(Debug)]
pub struct Options {
    function: String,
    pub paths: Vec<String>,
    /// All arguments are literals: they are the same each time.
    pub is_fixed: bool,
    named: BTreeMap<String, ScalarValue>,
}

impl Options {
    pub fn parse(scope: &Scope, function: &str, args: &TableFunctionArgs) -> Result<Self> {
        let is_fixed = args.args.iter().all(|arg| is_literal(value_of(arg)));
        let (function, named) = (function.to_string(), BTreeMap::new());
        let mut options = Self { function, paths: Vec::new(), is_fixed, named };
        for arg in &args.args {
            match arg {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    options.named.insert(names::folded(name), option_value(scope, value)?);
                }
                FunctionArg::ExprNamed {
                    name: Expr::Identifier(name),
                    arg: FunctionArgExpr::Expr(value),
                    ..
                } => {
                    options.named.insert(names::folded(name), option_value(scope, value)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
                    left,
                    op: BinaryOperator::Eq,
                    right,
                })) => {
                    let Expr::Identifier(name) = left.as_ref() else {
                        return Err(options.invalid("an option is written name => value"));
                    };
                    options.named.insert(names::folded(name), option_value(scope, right)?);
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) if options.paths.is_empty() => {
                    options.paths = paths(&scope.constant(value)?).ok_or_else(|| {
                        options.invalid("the first argument must be a file location or a list of them")
                    })?;
                }
                other => return Err(options.invalid(&format!("argument {other} is not understood"))),
            }
        }
        if options.paths.is_empty() {
            return Err(options.invalid("the first argument must be a file location or a list of them"));
        }
        Ok(options)
    }

    /// Of a call without options.
    pub fn of_location(function: &str, location: &str) -> Self {
        let paths = vec![location.to_string()];
        Self { function: function.to_string(), paths, is_fixed: true, named: BTreeMap::new() }
    }

    fn invalid(&self, what: &str) -> Error {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("{}: {what}", self.function))
    }

    /// Takes the option under the first of its names that is given.
    fn take(&mut self, names: &[&str]) -> Option<(String, ScalarValue)> {
        let name = names.iter().find(|name| self.named.contains_key(**name))?;
        self.named.remove_entry(*name)
    }

    pub fn text(&mut self, names: &[&str]) -> Option<String> {
        self.take(names).map(|(_, value)| text_of(&value))
    }

    /// A list of texts, or one.
    pub fn texts(&mut self, names: &[&str]) -> Vec<String> {
        self.take(names).and_then(|(_, value)| paths(&value)).unwrap_or_default()
    }

    pub fn bool(&mut self, names: &[&str]) -> Result<Option<bool>> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        match parse_bool(&text_of(&value)) {
            Some(on) => Ok(Some(on)),
            None => Err(self.invalid(&format!("option {name} must be true or false"))),
        }
    }

    pub fn integer(&mut self, names: &[&str]) -> Result<Option<i64>> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        match text_of(&value).parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.invalid(&format!("option {name} must be a number"))),
        }
    }

    /// A single byte; the empty text means none.
    pub fn byte(&mut self, names: &[&str]) -> Result<Option<u8>> {
        let Some((name, value)) = self.take(names) else { return Ok(None) };
        let text = text_of(&value);
        match (text.as_str(), text.as_bytes()) {
            ("\\t", _) => Ok(Some(b'\t')),
            ("", _) => Ok(None),
            (_, [byte]) => Ok(Some(*byte)),
            _ => Err(self.invalid(&format!("option {name} must be a single one-byte character"))),
        }
    }

    /// Fails if an option is left that nothing asked for.
    pub fn finish(&self) -> Result<()> {
        match self.named.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.invalid(&format!("unrecognized option \"{name}\""))),
        }
    }
}

/// What is given, without the name that it is given for.
fn value_of(arg: &FunctionArg) -> Option<&Expr> {
    match arg {
        FunctionArg::Named { arg: FunctionArgExpr::Expr(value), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(value), .. } => Some(value),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp {
            op: BinaryOperator::Eq, right, ..
        })) => Some(right.as_ref()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    }
}

fn is_literal(value: Option<&Expr>) -> bool {
    match value {
        Some(Expr::Value(_) | Expr::Identifier(_)) => true,
        Some(Expr::Array(items)) => items.elem.iter().all(|item| is_literal(Some(item))),
        _ => false,
    }
}

/// A constant; a bare word stands for itself.
fn option_value(scope: &Scope, expr: &Expr) -> Result<ScalarValue> {
    match expr {
        Expr::Identifier(word) => Ok(ScalarValue::Utf8(Some(word.value.clone()))),
        other => scope.constant(other),
    }
}

fn text_of(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

fn paths(value: &ScalarValue) -> Option<Vec<String>> {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Some(vec![text.clone()]),
        ScalarValue::List(list) => {
            let items = list.value(0);
            (0..items.len())
                .map(|i| {
                    let item = ScalarValue::try_from_array(&items, i).ok()?;
                    paths(&item).and_then(|one| one.into_iter().next())
                })
                .collect()
        }
        _ => None,
    }
}
