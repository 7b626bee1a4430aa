//! Statements that clients send to the catalog, run against a made-up one.

mod clients;
mod functions;
mod keys;

use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::Utc;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::execution::SessionStateBuilder;
use datafusion::optimizer::Analyzer;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use parking_lot::RwLock;

use super::image::{CatalogImage, Column, Database, Namespace, Relation, RelationKind};
use super::{CatalogContext, relation_names};
use crate::session::advisory::SessionLocks;
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;
use crate::session::settings::Settings;

fn column(name: &str, type_oid: u32, type_modifier: i32, nullable: bool) -> Column {
    Column {
        name: name.into(),
        type_oid,
        type_modifier,
        nullable,
        comment: (name == "amount").then(|| "with tax".to_string()),
        default: (name == "status").then(|| "'new'".to_string()),
        identity: None,
    }
}

fn relation(oid: u32, namespace: (u32, &str), name: &str, columns: Vec<Column>) -> Relation {
    Relation {
        columns,
        rows: Some(100),
        bytes: Some(12_345),
        format: Some("iceberg".into()),
        ..Relation::new(oid, namespace, name, RelationKind::Table)
    }
}

pub(super) fn image() -> CatalogImage {
    let sales = (16_385, "sales");
    let public = (2200, "public");
    let mut orders = relation(
        16_404,
        sales,
        "orders",
        vec![
            column("id", 20, -1, false),
            column("customer_id", 23, -1, true),
            column("amount", 1700, ((18 << 16) | 2) + 4, true),
            column("status", 25, -1, true),
            column("tags", 1009, -1, true),
            column("created_at", 1114, -1, true),
        ],
    );
    orders.key = vec![1];
    orders.comment = Some("all orders".into());
    orders.properties.insert("write.format.default".into(), "parquet".into());
    let mut view = relation(16_417, sales, "v_orders", vec![column("id", 20, -1, true)]);
    view.kind = RelationKind::View;
    view.definition = Some("SELECT id FROM sales.orders".into());
    let all_types = relation(
        16_391,
        public,
        "alltypes",
        vec![column("a", 16, -1, true), column("b", 701, -1, true), column("c", 1184, -1, true)],
    );
    let namespace = |(oid, name): (u32, &str), comment: Option<&str>| Namespace {
        oid,
        name: name.into(),
        comment: comment.map(Into::into),
    };
    CatalogImage::new(
        vec![Database { oid: 16_384, name: "lake".into() }],
        vec![namespace(public, None), namespace(sales, Some("what we sell"))],
        vec![orders, view, all_types],
    )
}

pub(super) fn context() -> Arc<CatalogContext> {
    let now = Utc::now();
    let info = SessionInfo {
        user: "auric".into(),
        session_user: "auric".into(),
        database: "lake".into(),
        search_path: vec!["public".into()],
        pid: 4711,
        transaction_start: now,
        statement_start: now,
        settings: Arc::new(RwLock::new(Settings::default())),
        temporary: None,
        locks: Arc::new(SessionLocks::new(Arc::default())),
        cursors: Vec::new(),
        prepared: Arc::default(),
        engine: None,
    };
    Arc::new(CatalogContext { info: Arc::new(info), image: Arc::new(image()) })
}

pub(super) fn session() -> SessionContext {
    let catalog_context = context();
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema("lake", "pg_catalog")
        .with_create_default_catalog_and_schema(false)
        .with_target_partitions(2);
    catalog_context.info.carry(config.options_mut());
    catalog_context.carry(config.options_mut());
    let mut rules = crate::analyzer::rules();
    rules.extend(Analyzer::new().rules);
    let mut planners = crate::analyzer::expr_planners();
    planners.extend(datafusion::execution::SessionStateDefaults::default_expr_planners());
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_analyzer_rules(rules)
        .with_expr_planners(planners)
        .with_type_planner(Arc::new(crate::types::sql_type::PostgresTypes))
        .build();
    let context = SessionContext::new_with_state(state);
    let catalog = MemoryCatalogProvider::new();
    for schema_name in ["pg_catalog", "information_schema"] {
        let schema = MemorySchemaProvider::new();
        for name in relation_names(schema_name) {
            let table = match schema_name {
                "pg_catalog" => super::relation(name, &catalog_context),
                _ => crate::information_schema::relation(name, &catalog_context),
            };
            schema.register_table(name.into(), table.unwrap()).unwrap();
        }
        catalog.register_schema(schema_name, Arc::new(schema)).unwrap();
    }
    context.register_catalog("lake", Arc::new(catalog));
    let state = context.state_ref();
    crate::functions::register(&mut *state.write()).unwrap();
    for (name, function) in crate::functions::table_functions() {
        context.register_udtf(name, function);
    }
    context
}

/// Runs one statement the way a session does.
pub(super) async fn run(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|e| format!("parse: {e}"))?;
    let mut statement = statements.pop().ok_or("no statement")?;
    crate::analyzer::rewrite(&mut statement);
    if let Statement::Query(query) = &mut statement {
        crate::planner::rewrite::make_names_unique(query);
    }
    let state = context.state();
    let plan = state
        .statement_to_plan(DfStatement::Statement(Box::new(statement)))
        .await
        .map_err(|e| format!("plan: {e}"))?;
    let presentation = crate::analyzer::Presentation::Names;
    let plan =
        crate::analyzer::present_output(plan, &state, presentation).map_err(|e| format!("output: {e}"))?;
    let frame = context.execute_logical_plan(plan).await.map_err(|e| format!("plan: {e}"))?;
    frame.collect().await.map_err(|e| format!("run: {e}"))
}

/// All cells as text, NULL as `∅`.
pub(super) async fn rows(context: &SessionContext, sql: &str) -> Vec<Vec<String>> {
    let batches = run(context, sql).await.unwrap_or_else(|e| panic!("{e}\n{sql}"));
    let options = arrow::util::display::FormatOptions::new().with_null("∅");
    let mut rows = Vec::new();
    for batch in &batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| arrow::util::display::ArrayFormatter::try_new(c, &options).unwrap())
            .collect();
        for i in 0..batch.num_rows() {
            rows.push(columns.iter().map(|c| c.value(i).to_string()).collect());
        }
    }
    rows
}
