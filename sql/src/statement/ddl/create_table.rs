//! `CREATE TABLE [AS]`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use auric_catalog::TableIdent;
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::table::schema::TEXT_TYPE_PROPERTY;
use auric_catalog::table::{ColumnDefault, ColumnDefinition, TableDefinition, TableFormat};
use datafusion::logical_expr::LogicalPlan;

use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output, dml, not_supported, rows};
use super::column_default;
use super::constraint::{Declaring, not_in_iceberg};
use super::foreign_key;
use super::identity_column;
use super::replace_table;
use crate::error::{Error, Result, SqlState};
use crate::functions::numeric::INEXACT;
use crate::parser::Parsed;
use crate::parser::statement::{ColumnClause, CreateTable};
use crate::planner::{PlannedQuery, Scope, system_columns};
use crate::session::Session;
use crate::types::text_type::TextType;

pub async fn execute(session: &mut Session, create: &CreateTable, parsed: &Parsed) -> Result<Output> {
    session.check_writable("CREATE TABLE")?;
    let scope = session.scope().await?;
    let (catalog, ident) = match create.temporary {
        true => scope.new_temporary_table(&create.name)?,
        false => scope.new_table(&create.name)?,
    };
    check_temporary(create, &catalog)?;
    let exists = match scope.tables.get(&catalog, &ident).await {
        Ok(found) => found.is_some(),
        // What cannot be read exists all the same.
        Err(_) => catalog.backend().table(&ident).await?.is_some(),
    };
    if exists && create.if_not_exists {
        let message = format!("relation \"{}\" already exists, skipping", ident.name);
        session.notice("NOTICE", SqlState::DUPLICATE_TABLE, message);
        return Ok(Output::Complete(CommandTag::Plain("CREATE TABLE")));
    }
    let create = foreign_key::declared(session, &scope, (&catalog, &ident), create, parsed).await?;
    let create = create.as_ref();
    if exists {
        if create.or_replace {
            let table = scope.table(&create.name, parsed).await?;
            return replace_table::execute(session, &scope, &table, create, parsed).await;
        }
        return Err(auric_catalog::Error::TableExists(ident).into());
    }
    if let Some(location) = &create.location
        && create.columns.is_empty()
        && create.query.is_none()
    {
        return register(&catalog, &ident, location, create.format).await;
    }
    let planned = match &create.query {
        Some(query) => Some(scope.plan_query(query, &[], parsed).await?),
        None => None,
    };
    let format = default_format(&scope, &catalog);
    let definition = definition(&scope, &ident.name, create, planned.as_ref(), format)?;
    let table = catalog.stage_table(&ident, &definition, create.location.as_deref()).await?;
    if catalog.is_temporary() {
        return temporary(session, create, &scope, &table, planned).await;
    }
    let in_block = session.block.is_some();
    let Some(planned) = planned.filter(|_| !create.with_no_data) else {
        scope.tables.create(&table).await?;
        return Ok(Output::Complete(CommandTag::Plain("CREATE TABLE")));
    };
    let count = fill(&scope, &table, &planned, in_block).await?;
    Ok(Output::Complete(CommandTag::Count("SELECT", count)))
}

fn check_temporary(create: &CreateTable, catalog: &Catalog) -> Result<()> {
    if !catalog.is_temporary() {
        return match create.on_commit {
            None => Ok(()),
            Some(_) => Err(Error::new(
                SqlState::INVALID_TABLE_DEFINITION,
                "ON COMMIT can only be used on temporary tables",
            )),
        };
    }
    if create.location.is_some() {
        return Err(not_supported("LOCATION of a temporary table"));
    }
    match create.format {
        Some(TableFormat::Delta) => Err(not_supported("a temporary table in Delta format")),
        _ => Ok(()),
    }
}

/// Makes and fills a temporary table. It is there at once; the transaction can undo it.
async fn temporary(
    session: &mut Session,
    create: &CreateTable,
    scope: &Scope,
    staged: &Table,
    planned: Option<PlannedQuery>,
) -> Result<Output> {
    let undo = session.temporary.undo();
    staged.catalog.create_staged(staged).await?;
    let table = staged.catalog.table(&staged.ident).await?;
    let table = table.ok_or_else(|| auric_catalog::Error::TableNotFound(staged.ident.clone()))?;
    session.temporary.at_commit(&table, create.on_commit);
    let tag = match planned.filter(|_| !create.with_no_data) {
        None => CommandTag::Plain("CREATE TABLE"),
        Some(planned) => CommandTag::Count("SELECT", fill(scope, &table, &planned, false).await?),
    };
    undo.forget();
    if session.block.is_none() {
        session.temporary.commit();
    }
    Ok(Output::Complete(tag))
}

/// Writes the query's rows into the new table: the first commit creates it.
async fn fill(scope: &Scope, table: &Table, planned: &PlannedQuery, in_block: bool) -> Result<u64> {
    let plan = rows_of(scope, table, planned)?;
    if in_block {
        scope.tables.create(table).await?;
    }
    let mut attempts = Attempts::once();
    let count = loop {
        let scope = attempts.adapt(scope.clone());
        let written = dml::write::append(&scope, table, rows::physical(&scope, &plan).await?).await;
        if let Some(count) = attempts.last(written) {
            break count?;
        }
    };
    if count == 0 && !in_block && table.catalog.table(&table.ident).await?.is_none() {
        table.catalog.create_staged(table).await?;
    }
    Ok(count)
}

/// The query's rows as those of the staged table, checked.
pub(super) fn rows_of(scope: &Scope, table: &Table, planned: &PlannedQuery) -> Result<LogicalPlan> {
    if !planned.parameters.is_empty() {
        return Err(not_supported("a parameter in CREATE TABLE AS"));
    }
    let columns =
        table.snapshot.schema.arrow.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let plan = dml::assign::to_table(scope, table, planned.plan.clone(), &columns)?;
    dml::check::enforce(scope, table, plan, &dml::check::Checked::default())
}

async fn register(
    catalog: &Arc<Catalog>,
    ident: &TableIdent,
    location: &str,
    format: Option<TableFormat>,
) -> Result<Output> {
    match catalog.register_table(ident, location, format).await? {
        Some(_) => Ok(Output::Complete(CommandTag::Plain("CREATE TABLE"))),
        None => Err(Error::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("there is no table at \"{location}\", and no columns are given for a new one"),
        )),
    }
}

/// The format of a new table that names none: what the catalog can hold, or as the session asks.
pub fn default_format(scope: &Scope, catalog: &Catalog) -> TableFormat {
    let asked = || match scope.info.settings.read().get("default_table_access_method") {
        Some("delta") => TableFormat::Delta,
        _ => TableFormat::Iceberg,
    };
    catalog.backend().only_format().unwrap_or_else(asked)
}

/// `format`: the table's, if the statement does not say.
pub fn definition(
    scope: &Scope,
    name: &str,
    create: &CreateTable,
    planned: Option<&PlannedQuery>,
    format: TableFormat,
) -> Result<TableDefinition> {
    let (mut properties, asked) = properties(create)?;
    let format = asked.unwrap_or(format);
    properties.extend(text_types(create, planned));
    let columns = match planned {
        None => declared_columns(scope, format, create)?,
        Some(planned) => query_columns(scope, format, create, planned)?,
    };
    if columns.is_empty() {
        return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, "a table must have at least one column"));
    }
    let mut names = HashSet::new();
    for column in &columns {
        system_columns::refuse_name(&column.name)?;
        if !names.insert(column.name.as_str()) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
        }
    }
    let used = create.partitioning.iter().map(|field| &field.column);
    let used = used.chain(create.sorting.iter().map(|field| &field.column)).chain(&create.key_columns);
    for name in used {
        if !names.contains(name.as_str()) {
            return Err(Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")));
        }
    }
    if format == TableFormat::Iceberg && !create.checks.is_empty() {
        return Err(not_in_iceberg());
    }
    if format == TableFormat::Iceberg {
        check_iceberg_defaults(&columns, &properties)?;
    }
    let constraints = Declaring::new(scope, name, &columns).all(&create.checks)?;
    Ok(TableDefinition {
        format,
        columns,
        partitioning: create.partitioning.clone(),
        sorting: create.sorting.clone(),
        key_columns: create.key_columns.clone(),
        constraints,
        comment: create.comment.clone(),
        properties,
    })
}

/// Iceberg keeps defaults from version 3 of its format on, and only values.
fn check_iceberg_defaults(columns: &[ColumnDefinition], properties: &BTreeMap<String, String>) -> Result<()> {
    let Some(name) = columns.iter().find(|c| c.default.is_some()).map(|c| &c.name) else {
        return Ok(());
    };
    if properties.get("format-version").is_none_or(|version| version.trim() != "3") {
        let message = format!("the default of column \"{name}\" in this version of the Iceberg format");
        return Err(
            not_supported(message).with_hint("Create the table with TBLPROPERTIES ('format-version' = '3').")
        );
    }
    let mut defaults = columns.iter().filter_map(|c| Some((&c.name, c.default.as_ref()?)));
    match defaults.find(|(_, default)| default.constant.is_none()) {
        Some((name, default)) => {
            let message = format!("the default {} of column \"{name}\" in Iceberg", default.sql);
            Err(not_supported(message)
                .with_detail("It is not the same at any time; Iceberg's defaults are values.")
                .with_hint("Use a value, or a Delta table (USING DELTA)."))
        }
        None => Ok(()),
    }
}

/// Table properties, without those that only mean something to Postgres; the format may be one.
fn properties(create: &CreateTable) -> Result<(BTreeMap<String, String>, Option<TableFormat>)> {
    let mut properties = BTreeMap::new();
    let mut format = create.format;
    for (key, value) in &create.properties {
        match key.as_str() {
            "oids" | "fillfactor" | "autovacuum_enabled" => {}
            "format" | "table_format" => {
                format = Some(match value.to_ascii_lowercase().as_str() {
                    "iceberg" => TableFormat::Iceberg,
                    "delta" => TableFormat::Delta,
                    _ => {
                        let message =
                            format!("table format \"{value}\" does not exist: use iceberg or delta");
                        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
                    }
                });
            }
            _ => {
                properties.insert(key.clone(), value.clone());
            }
        }
    }
    Ok((properties, format))
}

/// Properties that keep the types of `varchar(n)`, `char(n)`, `json` and `jsonb` columns.
fn text_types(create: &CreateTable, planned: Option<&PlannedQuery>) -> Vec<(String, String)> {
    let property = |name: &str, text: TextType| {
        text.stored().map(|stored| (format!("{TEXT_TYPE_PROPERTY}{name}"), stored))
    };
    let Some(planned) = planned else {
        let columns = create.columns.iter();
        return columns.filter_map(|column| property(&column.name, column.text_type?)).collect();
    };
    let fields = planned.plan.schema().fields().iter().zip(planned.columns.iter()).enumerate();
    fields
        .filter_map(|(i, (field, column))| {
            let name = create.columns.get(i).map_or(&column.name, |column| &column.name);
            property(name, TextType::of_field(field)?)
        })
        .collect()
}

fn default(
    scope: &Scope,
    format: TableFormat,
    column: &ColumnClause,
    data_type: &DataType,
) -> Result<Option<ColumnDefault>> {
    match &column.default {
        Some(default) => column_default::declared(scope, format, &column.name, data_type, default),
        None => Ok(None),
    }
}

fn declared_columns(
    scope: &Scope,
    format: TableFormat,
    create: &CreateTable,
) -> Result<Vec<ColumnDefinition>> {
    create
        .columns
        .iter()
        .map(|column| {
            let Some(data_type) = &column.data_type else {
                let message = format!("column \"{}\" has no type", column.name);
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            };
            let data_type = stored_type(&column.name, data_type.as_ref().map_err(Error::clone)?)?;
            Ok(ColumnDefinition {
                identity: identity_column::declared(column, &data_type)?,
                default: default(scope, format, column, &data_type)?,
                name: column.name.clone(),
                data_type,
                nullable: !column.not_null && !create.key_columns.contains(&column.name),
                comment: column.comment.clone(),
            })
        })
        .collect()
}

fn query_columns(
    scope: &Scope,
    format: TableFormat,
    create: &CreateTable,
    planned: &PlannedQuery,
) -> Result<Vec<ColumnDefinition>> {
    let fields = planned.plan.schema().fields();
    if create.columns.len() > fields.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    fields
        .iter()
        .zip(planned.columns.iter())
        .enumerate()
        .map(|(i, (field, output))| {
            let clause = create.columns.get(i);
            clause.map_or(Ok(()), identity_column::not_of_query)?;
            let name = clause.map_or(&output.name, |clause| &clause.name);
            let data_type = match clause.and_then(|clause| clause.data_type.as_ref()) {
                Some(declared) => declared.as_ref().map_err(Error::clone)?,
                None => field.data_type(),
            };
            let data_type = stored_type(name, data_type)?;
            Ok(ColumnDefinition {
                identity: None,
                default: match clause {
                    Some(clause) => default(scope, format, clause, &data_type)?,
                    None => None,
                },
                name: name.clone(),
                data_type,
                nullable: !clause.is_some_and(|clause| clause.not_null) && !create.key_columns.contains(name),
                comment: clause.and_then(|clause| clause.comment.clone()),
            })
        })
        .collect()
}

/// The type in which a table keeps values of `data_type`.
pub(super) fn stored_type(column: &str, data_type: &DataType) -> Result<DataType> {
    let nested = |field: &Arc<Field>| -> Result<Arc<Field>> {
        let data_type = stored_type(column, field.data_type())?;
        Ok(Arc::new(Field::new(field.name(), data_type, field.is_nullable())))
    };
    Ok(match data_type {
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::BinaryView,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        // As of a column that is declared so.
        inexact if *inexact == INEXACT => DataType::Decimal128(38, 10),
        DataType::Decimal256(_, s) => DataType::Decimal128(38, *s),
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        DataType::Dictionary(_, value) => stored_type(column, value)?,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => DataType::List(nested(field)?),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect::<Result<Fields>>()?),
        DataType::Map(entries, sorted) => DataType::Map(nested(entries)?, *sorted),
        DataType::Interval(_) | DataType::Duration(_) => {
            return Err(not_supported(format!("column \"{column}\" of type interval in a table")));
        }
        other => other.clone(),
    })
}
