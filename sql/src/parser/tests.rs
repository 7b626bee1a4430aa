use arrow::datatypes::{DataType, TimeUnit};
use auric_catalog::table::{TableFormat, Transform};

use super::statement::{Chain, CopyFormat, CopySource, CreateTable, Discard, Header, Movement, Show};
use super::*;
use crate::session::cursor::{CursorOptions, Scroll};

fn one(text: &str) -> Statement {
    let mut parsed = parse(text).unwrap();
    assert_eq!(parsed.len(), 1, "{text}");
    Arc::unwrap_or_clone(parsed.remove(0).statement)
}

fn table(text: &str) -> CreateTable {
    match one(text) {
        Statement::CreateTable(table) => *table,
        other => panic!("{other:?}"),
    }
}

#[test]
fn statements_are_split_with_their_own_text() {
    let parsed = parse(" select 'a;b' ; -- x;\n insert into t values (1) ;; ").unwrap();
    let texts: Vec<_> = parsed.iter().map(|p| p.text.as_str()).collect();
    assert_eq!(texts, ["select 'a;b'", "insert into t values (1)"]);
    assert!(parse(" ; -- nothing\n").unwrap().is_empty());
    assert_eq!(parse("select 'é' ; select 2").unwrap()[1].text, "select 2");
}

#[test]
fn syntax_errors_have_a_position() {
    let e = parse("select é from t where order by x").unwrap_err();
    assert_eq!(e.code, SqlState::SYNTAX_ERROR);
    let e = parse("selec 1").unwrap_err();
    assert_eq!((e.message.as_str(), e.position), ("syntax error at or near \"selec\"", Some(1)));
    let e = parse("select 1;\nselect )").unwrap_err();
    assert_eq!((e.message.as_str(), e.position), ("syntax error at or near \")\"", Some(18)));
    let e = parse("insert into").unwrap_err();
    assert_eq!(e.message, "syntax error at end of input");
    let e = parse("select 'abc").unwrap_err();
    assert!(e.message.starts_with("unterminated quoted string"), "{}", e.message);
}

#[test]
fn deep_texts_are_refused() {
    let nested = format!("select {}1{}", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(parse(&nested).unwrap_err().code, SqlState::STATEMENT_TOO_COMPLEX);
    let chain = format!("select 1{}", "+1".repeat(100_000));
    assert_eq!(parse(&chain).unwrap_err().code, SqlState::STATEMENT_TOO_COMPLEX);
    let list = format!("select 1 in ({})", vec!["1"; 50_000].join(","));
    assert!(parse(&list).is_ok());
}

#[test]
fn create_table_clauses_come_in_any_order() {
    let t = table(
        "CREATE TABLE IF NOT EXISTS s.\"T\" (id bigint NOT NULL PRIMARY KEY, Name varchar(20) COMMENT 'who', \
         price numeric(10,2) DEFAULT 1 + 1 NOT NULL, ts timestamptz, PRIMARY KEY (id)) \
         TBLPROPERTIES ('write.format.default' = 'parquet', a.b = 1) SORTED BY (ts DESC, id) LOCATION '/x' \
         PARTITIONED BY (name, days(ts), bucket(16, id), truncate(4, name)) USING delta COMMENT 'c'",
    );
    assert!(t.if_not_exists);
    assert_eq!(t.name.to_string(), "s.\"T\"");
    assert_eq!(t.format, Some(TableFormat::Delta));
    assert_eq!(t.columns.len(), 4);
    assert_eq!(t.columns[1].name, "name");
    assert_eq!(t.columns[1].comment.as_deref(), Some("who"));
    assert!(t.columns[2].not_null && t.columns[2].default.is_some());
    let data_type = |i: usize| t.columns[i].data_type.clone().unwrap().unwrap();
    assert_eq!(data_type(2), DataType::Decimal128(10, 2));
    assert_eq!(
        t.columns[3].data_type,
        Some(Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))))
    );
    assert_eq!(t.key_columns, ["id"]);
    let transforms: Vec<_> = t.partitioning.iter().map(|p| p.transform.clone()).collect();
    assert_eq!(
        transforms,
        [Transform::Identity, Transform::Day, Transform::Bucket(16), Transform::Truncate(4)]
    );
    assert!(t.sorting[0].descending && t.sorting[0].nulls_first && !t.sorting[1].descending);
    assert_eq!(t.location.as_deref(), Some("/x"));
    assert_eq!(t.properties[1], ("a.b".into(), "1".into()));
}

#[test]
fn create_table_as_and_with() {
    let t = table("create or replace table t using iceberg with (x = 'y') as select 1 as a");
    assert!(t.or_replace && t.query.is_some() && t.columns.is_empty());
    assert_eq!(t.properties, [("x".to_string(), "y".to_string())]);
    assert!(table("create table t as (select 1)").query.is_some());
    assert!(table("create table t (select 1 a)").query.is_some());
    assert!(table("create table t (a, b) as values (1, 2)").columns[0].data_type.is_none());
    assert!(table("create table t as select 1 with no data").with_no_data);
}

#[test]
fn nested_types() {
    let t = table(
        "create table t (a struct<x: int, y array<struct<z text>>>, b int[], c map<text, map<text, int>>)",
    );
    let Some(Ok(DataType::Struct(fields))) = &t.columns[0].data_type else { panic!() };
    assert_eq!(fields.len(), 2);
    assert!(matches!(fields[1].data_type(), DataType::List(_)));
    assert!(matches!(t.columns[1].data_type, Some(Ok(DataType::List(_)))));
    assert!(matches!(t.columns[2].data_type, Some(Ok(DataType::Map(_, _)))));
}

#[test]
fn copy_options() {
    let Statement::Copy(c) =
        one("copy s.t (a, B) from stdin with (format csv, header, null 'NA', delimiter ';')")
    else {
        panic!()
    };
    assert_eq!(
        (c.options.format, c.options.header, c.options.delimiter),
        (CopyFormat::Csv, Header::Present, b';')
    );
    assert_eq!(c.options.null, "NA");
    assert!(matches!(c.source, CopySource::Table { columns, .. } if columns.len() == 2));
    assert!(matches!(one("copy t from stdin csv header"), Statement::Copy(_)));
    assert!(matches!(one("copy (select 1) to stdout"), Statement::Copy(_)));
    assert!(parse("copy t from stdin with (delimiter 'ab')").is_err());
}

#[test]
fn session_statements() {
    let Statement::Set(s) = one("SET LOCAL search_path TO \"$user\", public") else { panic!() };
    assert_eq!(s.value.as_deref(), Some("\"$user\", public"));
    assert!(s.local);
    assert!(
        matches!(one("SET TIME ZONE 'Europe/Paris'"), Statement::Set(s) if s.value.as_deref() == Some("Europe/Paris"))
    );
    assert!(matches!(
        one("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"),
        Statement::SetTransaction { session: true, .. }
    ));
    assert!(
        matches!(one("show transaction isolation level"), Statement::Show(Show::Variable(v)) if v == "transaction_isolation")
    );
    assert!(
        matches!(one("BEGIN READ ONLY, ISOLATION LEVEL SERIALIZABLE"), Statement::Begin { start: false, modes } if modes.read_only == Some(true))
    );
    assert!(matches!(one("start transaction"), Statement::Begin { start: true, .. }));
    assert!(matches!(one("END"), Statement::Commit(Chain::No)));
    assert!(matches!(one("abort"), Statement::Rollback(Chain::No)));
    assert!(matches!(one("rollback to savepoint A"), Statement::RollbackTo(n) if n == "a"));
    assert!(
        matches!(one("declare c no scroll cursor without hold for select 1"), Statement::Declare(d) if d.options == CursorOptions { scroll: Scroll::No, ..CursorOptions::default() })
    );
    for (text, movement) in [
        ("fetch c", Movement::Forward(Some(1))),
        ("fetch next from next", Movement::Forward(Some(1))),
        ("fetch next", Movement::Forward(Some(1))),
        ("fetch from c", Movement::Forward(Some(1))),
        ("fetch forward 10 from c", Movement::Forward(Some(10))),
        ("fetch -3 in c", Movement::Forward(Some(-3))),
        ("fetch all c", Movement::Forward(None)),
        ("fetch forward c", Movement::Forward(Some(1))),
        ("fetch prior c", Movement::Backward(Some(1))),
        ("fetch backward all from c", Movement::Backward(None)),
        ("fetch first from c", Movement::Absolute(1)),
        ("move last in c", Movement::Absolute(-1)),
        ("move absolute +4 c", Movement::Absolute(4)),
        ("move relative -4 c", Movement::Relative(-4)),
    ] {
        assert!(matches!(one(text), Statement::Fetch(f) if f.movement == movement), "{text}");
    }
    assert!(
        matches!(one("prepare p (int) as select $1"), Statement::Prepare { text, .. } if text == "select $1")
    );
    assert!(matches!(one("discard all"), Statement::Discard(Discard::All)));
    assert!(matches!(one("explain (analyze, costs off) select 1"), Statement::Explain(e) if e.analyze));
    assert!(matches!(one("table t"), Statement::Query(_)));
    assert!(matches!(one("delete from t"), Statement::Delete(_)));
    assert!(matches!(one("insert into t (a) by name select 1 a"), Statement::Insert(i) if i.by_name));

    // What follows DISTINCT FROM binds tighter than AND and OR.
    let Statement::Query(query) = one("select a is distinct from b and c is not distinct from d or e") else {
        panic!("not a query")
    };
    assert_eq!(query.to_string(), "SELECT a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d OR e");
    let ast::SetExpr::Select(select) = query.body.as_ref() else { panic!("not a select") };
    let ast::SelectItem::UnnamedExpr(ast::Expr::BinaryOp { op, left, .. }) = &select.projection[0] else {
        panic!("not a disjunction")
    };
    assert_eq!(*op, ast::BinaryOperator::Or);
    assert!(matches!(left.as_ref(), ast::Expr::BinaryOp { op: ast::BinaryOperator::And, .. }));
}

#[test]
fn materialized_views() {
    use super::statement::{ActionClause, AlterViewAction};
    let Statement::CreateMaterializedView(view) = one(
        "create materialized view if not exists s.v (a, constraint \"P q\" expect (a > (1)) on violation quarantine into s.q, b,\n\
           constraint c expect ('a)' <> b)) using delta trigger on update at most every '2 hours' retries 5 \n\
           as  select 1 as a, /* x */ 'with data' as b  -- end\n with no data",
    ) else {
        panic!("not a materialized view")
    };
    assert!(view.table.if_not_exists && view.table.with_no_data && !view.table.or_replace);
    assert_eq!(view.text, "select 1 as a, /* x */ 'with data' as b");
    assert_eq!(view.table.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let conditions: Vec<_> =
        view.expectations.iter().map(|e| (e.name.as_str(), e.condition.as_str())).collect();
    assert_eq!(conditions, [("P q", "a > (1)"), ("c", "'a)' <> b")]);
    assert!(
        matches!(&view.expectations[0].action, ActionClause::QuarantineInto(name) if name.to_string() == "s.q")
    );
    assert!(matches!(view.expectations[1].action, ActionClause::Warn));
    assert_eq!(view.schedule.as_ref().unwrap().to_string(), "TRIGGER ON UPDATE AT MOST EVERY 2 HOURS");
    assert_eq!((view.retries, view.table.format), (Some(5), Some(TableFormat::Delta)));
    // Neither of these is a part of the query.
    for (text, no_data) in [("with data", false), ("with no data", true), ("", false)] {
        let Statement::CreateMaterializedView(view) =
            one(&format!("create materialized view v as select a from t group by a {text}"))
        else {
            panic!("not a materialized view")
        };
        assert_eq!((view.text.as_str(), view.table.with_no_data), ("select a from t group by a", no_data));
    }
    let Statement::RefreshMaterializedView(refresh) =
        one("REFRESH MATERIALIZED VIEW concurrently v cascade full")
    else {
        panic!("not a refresh")
    };
    assert!(refresh.full && refresh.cascade && !refresh.with_no_data);
    assert!(matches!(one("alter materialized view v set schedule every 1 day"),
        Statement::AlterMaterializedView(a) if matches!(&a.action, AlterViewAction::Schedule(Some(_)))));
    assert!(matches!(one("alter materialized view v set (a = 'b')"),
        Statement::AlterMaterializedView(a) if matches!(&a.action, AlterViewAction::SetProperties(_))));
    for (text, near, position) in [
        ("create materialized view v schedule every x as select 1", "x", 43),
        ("create materialized view v (constraint c expect a > 0) as select 1", "a", 49),
        ("create materialized view v using delta", "", 39),
        ("refresh materialized view v fully", "fully", 29),
        ("alter materialized view v resumed", "resumed", 27),
    ] {
        let e = parse(text).unwrap_err();
        assert_eq!((e.code, e.position), (SqlState::SYNTAX_ERROR, Some(position)), "{text}: {}", e.message);
        assert!(e.message.contains(near), "{}", e.message);
    }
}
