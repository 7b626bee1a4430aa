//! `TABLESAMPLE method (percentage) [REPEATABLE (seed)]` in FROM: a condition on each row.
//!
//! `SYSTEM` takes rows one by one as `BERNOULLI` does, where Postgres takes whole pages. With a seed, what
//! decides is the file and position of a row: the same rows as long as the table stays as it is, whatever
//! else the query asks of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use auric_catalog::dml::rows::{FILE, POSITION};
use auric_catalog::registry::Table;
use auric_catalog::scan::{RowFiles, told_apart};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TableSource, Volatility, cast,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, TableFactor, TableSample, TableSampleKind, TableSampleMethod, TableSampleModifier,
    TableSampleQuantity, TableSampleSeedModifier, Value, ValueWithSpan, Visitor,
};

use super::Scope;
use crate::error::{Error, Result, SqlState};
use crate::parser::walk::Walk;

/// What a statement says of a sample.
pub struct Clause<'a> {
    percentage: &'a ast::Expr,
    seed: Option<&'a ValueWithSpan>,
}

/// A sampled relation and its clause as written, without alias. `None`: it is not sampled.
pub fn key(factor: &TableFactor) -> Option<String> {
    let TableFactor::Table { name, version, .. } = factor else { return None };
    let version = version.as_ref().map(ToString::to_string).unwrap_or_default();
    Some(format!("{name} {version} {}", sample_of(factor)?))
}

fn sample_of(factor: &TableFactor) -> Option<&TableSample> {
    match factor {
        TableFactor::Table { sample: Some(sample), .. } => match sample {
            TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample) => {
                Some(sample)
            }
        },
        _ => None,
    }
}

/// The clause of a relation, if it has one. Fails with 42601 for the forms of other engines, and 42704 for
/// methods that there are not.
pub fn clause(factor: &TableFactor) -> Result<Option<Clause<'_>>> {
    let Some(sample) = sample_of(factor) else { return Ok(None) };
    let syntax = || {
        Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{sample}\""))
            .with_hint("A sample is TABLESAMPLE {BERNOULLI | SYSTEM} (percentage) [REPEATABLE (seed)].")
    };
    let TableSample { modifier, name, quantity, seed, bucket, offset } = sample;
    let Some(TableSampleQuantity { parenthesized, value, unit: None }) = quantity else {
        return Err(syntax());
    };
    if let (None, ast::Expr::Function(function)) = (name, value) {
        let message = format!("tablesample method {} does not exist", function.name);
        return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
    }
    let is_known = matches!(name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System))
        && *modifier == TableSampleModifier::TableSample
        && seed.as_ref().is_none_or(|seed| seed.modifier == TableSampleSeedModifier::Repeatable);
    if !is_known || !parenthesized || bucket.is_some() || offset.is_some() {
        return Err(syntax());
    }
    Ok(Some(Clause { percentage: value, seed: seed.as_ref().map(|seed| &seed.value) }))
}

/// The error for what is no table.
pub fn no_table() -> Error {
    let message = "TABLESAMPLE clause can only be applied to tables and materialized views";
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
}

/// The error for a seed where rows have no place.
pub fn no_repeatable() -> Error {
    crate::statement::not_supported("REPEATABLE of a system relation")
}

impl Clause<'_> {
    pub fn is_repeatable(&self) -> bool {
        self.seed.is_some()
    }

    /// Refuses what is known to be no percentage or seed before there are rows.
    pub fn check(&self, scope: &Scope) -> Result<()> {
        if self.seed.is_some_and(|seed| seed.value == Value::Null) {
            let message = "TABLESAMPLE REPEATABLE parameter cannot be null";
            return Err(Error::new(SqlState("2202G"), message));
        }
        if self.percentage.walk(&mut Unknown).is_break() {
            return Ok(());
        }
        let value = scope.rewritten_constant(self.percentage)?;
        let value = value.cast_to(&DataType::Float64).map_err(|e| Error::from(&e))?;
        match value {
            ScalarValue::Float64(percentage) => fraction(percentage).map(drop),
            _ => Ok(()),
        }
    }
}

/// Finds what has no value before the query runs.
struct Unknown;

impl Visitor for Unknown {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &ast::Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        match value.value {
            Value::Placeholder(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn fraction(percentage: Option<f64>) -> Result<f64> {
    match percentage {
        None => Err(Error::new(SqlState("2202H"), "TABLESAMPLE parameter cannot be null")),
        Some(percentage) if (0.0..=100.0).contains(&percentage) => Ok(percentage / 100.0),
        Some(_) => Err(Error::new(SqlState("2202H"), "sample percentage must be between 0 and 100")),
    }
}

/// A relation of which a part is taken.
#[derive(Clone)]
pub struct Sampled {
    /// What tells its scan from others.
    key: String,
    label: TableReference,
    source: Arc<dyn TableSource>,
    /// `None`: chance decides.
    files: Option<RowFiles>,
}

impl Sampled {
    /// Other rows each time.
    pub fn any_rows(key: String, label: TableReference, source: Arc<dyn TableSource>) -> Self {
        Self { key, label, source, files: None }
    }

    /// The same rows for the same seed.
    pub fn same_rows(key: String, label: TableReference, table: &Table) -> Self {
        let (provider, files) = told_apart(table);
        Self { key, label, source: provider_as_source(provider), files: Some(files) }
    }

    pub fn source(&self) -> &Arc<dyn TableSource> {
        &self.source
    }

    /// The relation with its condition.
    pub fn plan(
        self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> datafusion::error::Result<RelationPlanning> {
        let Some(clause) = clause(&relation)? else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let nothing = DFSchema::empty();
        let number = |expr: Expr| cast(expr, DataType::Float64);
        let percentage = number(context.sql_to_expr(clause.percentage.clone(), &nothing)?);
        let scan = LogicalPlanBuilder::scan(TableReference::bare(self.key), self.source, None)?;
        let plan = scan.alias(self.label.clone())?.build()?;
        let address = [FILE, POSITION].map(|name| Column::new(Some(self.label.clone()), name));
        let columns: Vec<Expr> =
            plan.schema().columns().into_iter().filter(|c| !address.contains(c)).map(Expr::Column).collect();
        let mut arguments = vec![percentage];
        if self.files.is_some() {
            let seed = clause.seed.cloned().map(ast::Expr::Value);
            let seed = seed.map(|seed| context.sql_to_expr(seed, &nothing)).transpose()?;
            arguments.extend(address.map(Expr::Column));
            arguments.extend(seed.map(number));
        }
        let taken = ScalarUDF::new_from_impl(Taken::new(self.files)).call(arguments);
        let plan = LogicalPlanBuilder::from(plan).filter(taken)?.project(columns)?.build()?;
        let alias = match relation {
            TableFactor::Table { alias, .. } => alias,
            _ => None,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// Whether a row is of the sample: by its percentage and, with a seed, its file, position and the seed.
/// Volatile in any case, so that no answer is kept.
struct Taken {
    files: Option<RowFiles>,
    signature: Signature,
}

impl Taken {
    fn new(files: Option<RowFiles>) -> Self {
        let mut types = vec![DataType::Float64];
        if files.is_some() {
            types.extend([DataType::Int32, DataType::Int64, DataType::Float64]);
        }
        Self { files, signature: Signature::exact(types, Volatility::Volatile) }
    }

    /// Numbers from 0 to below 1 that the rows' addresses and the seed make.
    fn numbers(&self, arrays: &[ArrayRef]) -> datafusion::error::Result<Float64Array> {
        let ([_, in_files, positions, seeds], Some(files)) = (arrays, &self.files) else {
            return Err(DataFusionError::Internal("a row without an address".into()));
        };
        let (in_files, positions) =
            (in_files.as_primitive::<Int32Type>(), positions.as_primitive::<Int64Type>());
        let seeds = seeds.as_primitive::<Float64Type>();
        let mut known = None;
        let mut numbers = Vec::with_capacity(positions.len());
        for ((file, position), seed) in in_files.iter().zip(positions).zip(seeds) {
            let (Some(file), Some(position)) = (file, position) else {
                return Err(DataFusionError::Internal("a row without an address".into()));
            };
            let Some(seed) = seed else {
                let message = "TABLESAMPLE REPEATABLE parameter cannot be null";
                return Err(Error::new(SqlState("2202G"), message).into());
            };
            let of_file = match known {
                Some((number, of_file)) if number == file => of_file,
                _ => hash(&files.path(file)),
            };
            known = Some((file, of_file));
            // The 53 bits that a number between 0 and 1 has.
            numbers.push((hash(&(of_file, position, seed.to_bits())) >> 11) as f64 / (1_u64 << 53) as f64);
        }
        Ok(numbers.into())
    }
}

fn hash(what: &impl Hash) -> u64 {
    // Always with the same keys, other than that of a map.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Taken")
    }
}

// Two samples are never the same.
impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Taken {}

impl Hash for Taken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Taken {
    fn name(&self) -> &str {
        "tablesample"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> datafusion::error::Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> datafusion::error::Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays =
            args.args.iter().map(|arg| arg.to_array(rows)).collect::<datafusion::error::Result<Vec<_>>>()?;
        let percentages = match arrays.first() {
            Some(percentages) => percentages.as_primitive::<Float64Type>(),
            None => return Err(DataFusionError::Internal("a sample without a percentage".into())),
        };
        let numbers = match self.files {
            Some(_) => self.numbers(&arrays)?,
            None => (0..rows).map(|_| Some(rand::random::<f64>())).collect(),
        };
        let taken = percentages.iter().zip(&numbers).map(|(percentage, number)| {
            let fraction = fraction(percentage)?;
            Ok(number.map(|number| number < fraction))
        });
        let taken = taken.collect::<Result<arrow::array::BooleanArray>>()?;
        Ok(ColumnarValue::Array(Arc::new(taken)))
    }
}
