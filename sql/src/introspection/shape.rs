//! A statement without its constants.

use std::collections::HashSet;
use std::hash::RandomState;
use std::ops::ControlFlow;
use std::sync::OnceLock;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Ident, Query, TableFactor, Value, Visitor, VisitorMut,
};

use crate::parser::walk::{Walk, WalkMut};
use crate::parser::{Statement, folded};
use crate::pg_catalog::shape;
use crate::planner::{highest_placeholder, reference};
use crate::result_cache::wide;

/// Columns of system relations that hold names and OIDs, which are what clients ask with. Other constants
/// (`relkind = 'r'`) tell one question from another, and stay.
const COLUMNS: &[&str] = &[
    "adrelid",
    "attname",
    "attrelid",
    "classid",
    "classoid",
    "collname",
    "column_name",
    "confrelid",
    "conname",
    "conrelid",
    "constraint_name",
    "constraint_schema",
    "datname",
    "indexrelid",
    "indrelid",
    "inhparent",
    "inhrelid",
    "nspname",
    "objid",
    "objoid",
    "objsubid",
    "oid",
    "polrelid",
    "prrelid",
    "refobjid",
    "relname",
    "relnamespace",
    "rolname",
    "schema_name",
    "schemaname",
    "stxrelid",
    "table_catalog",
    "table_name",
    "table_schema",
    "tablename",
    "tgrelid",
    "typname",
    "typnamespace",
    "typrelid",
    "viewname",
];

/// A query over system relations, with parameters for its constants.
#[derive(Debug)]
pub struct Shape {
    query: Query,
    constants: Vec<Constant>,
    texts: Vec<String>,
    name: OnceLock<u128>,
}

/// What was written in place of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constant {
    /// A literal of no type, which takes that of the column.
    Unknown,
    /// A text that is cast, or a regular expression as `psql` asks with.
    Text,
    Number,
}

impl Shape {
    /// `None`: it names anything but system relations.
    pub fn of(statement: &Statement) -> Option<Self> {
        let Statement::Query(query) = statement else { return None };
        let mut names = Names::default();
        let _ = query.walk(&mut names);
        if !names.system || names.other.iter().any(|name| !names.with.contains(name)) {
            return None;
        }
        let mut taken =
            Taken { next: highest_placeholder(query).ok()? + 1, constants: Vec::new(), texts: Vec::new() };
        let mut query = query.as_ref().clone();
        let _ = query.walk_mut(&mut taken);
        Some(Self { query, constants: taken.constants, texts: taken.texts, name: OnceLock::new() })
    }

    /// The same for equal queries, under the keys of this process.
    pub fn name(&self, keys: &[RandomState; 2]) -> u128 {
        *self.name.get_or_init(|| wide(keys, &self.query))
    }

    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The values of the parameters that were added, in their order.
    pub fn constants(&self) -> &[String] {
        &self.texts
    }

    /// What they were.
    pub fn kinds(&self) -> &[Constant] {
        &self.constants
    }
}

/// The relations that a query names.
#[derive(Default)]
struct Names {
    system: bool,
    other: Vec<String>,
    with: HashSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let named = query.with.iter().flat_map(|with| &with.cte_tables);
        self.with.extend(named.map(|cte| folded(cte.alias.name.clone())));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, args: None, version: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        match reference(name) {
            Ok(TableReference::Partial { schema, table }) if shape::find(&schema, &table).is_some() => {
                self.system = true;
            }
            Ok(TableReference::Bare { table }) if shape::find("pg_catalog", &table).is_some() => {
                self.system = true;
            }
            _ => self.other.push(
                name.0.last().and_then(|part| part.as_ident()).cloned().map(folded).unwrap_or_default(),
            ),
        }
        ControlFlow::Continue(())
    }
}

/// Puts parameters in the place of constants.
struct Taken {
    /// Number of the next parameter.
    next: usize,
    constants: Vec<Constant>,
    texts: Vec<String>,
}

impl Taken {
    fn take(&mut self, expr: &mut Expr, cast: bool) {
        let Expr::Value(value) = expr else { return };
        let constant = match (&value.value, cast) {
            (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text), false) => {
                (Constant::Unknown, text.clone())
            }
            (Value::SingleQuotedString(text), true) => (Constant::Text, text.clone()),
            (Value::Number(digits, false), false) if digits.parse::<i32>().is_ok() => {
                (Constant::Number, digits.clone())
            }
            _ => return,
        };
        self.constants.push(constant.0);
        self.texts.push(constant.1);
        value.value = Value::Placeholder(format!("${}", self.next));
        self.next += 1;
    }
}

impl VisitorMut for Taken {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Eq | BinaryOperator::NotEq, right }
                if is_asked(left) =>
            {
                self.take(right, false);
            }
            Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right }
                if is_asked(left) && parts.last().is_some_and(|symbol| symbol == "~") =>
            {
                match right.as_mut() {
                    Expr::Collate { expr, .. } => self.take(expr, true),
                    pattern => self.take(pattern, true),
                }
            }
            Expr::InList { expr, list, .. } if is_asked(expr) => {
                list.iter_mut().for_each(|item| self.take(item, false));
            }
            Expr::Like { any: false, expr, pattern, escape_char: None, .. } if is_asked(expr) => {
                self.take(pattern, false);
            }
            Expr::Cast { expr, data_type: DataType::Regclass, .. } => self.take(expr, true),
            Expr::Cast { expr, data_type: DataType::Custom(name, modifiers), .. } if modifiers.is_empty() => {
                if let Ok(name) = reference(name)
                    && matches!(name.schema(), None | Some("pg_catalog"))
                    && name.table() == "regclass"
                {
                    self.take(expr, true);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether this is a column that clients ask with.
fn is_asked(expr: &Expr) -> bool {
    let ident: Option<&Ident> = match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(idents) => idents.last(),
        _ => None,
    };
    ident.is_some_and(|ident| COLUMNS.contains(&folded(ident.clone()).as_str()))
}
