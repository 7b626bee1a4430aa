//! Statements from text to rows, over a catalog in a temporary directory.

mod introspection;
mod row_changes;
mod time_travel;

use std::sync::Arc;

use arrow::array::Array;
use arrow::util::display::array_value_to_string;
use auric_catalog::backend::sql::SqlBackend;
use auric_catalog::registry::{Catalog, Registry};
use auric_catalog::storage::Storage;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use postgres_types::Type;

use crate::activity::{Activity, Backend};
use crate::clock::Clock;
use crate::result_cache::ResultCacheOptions;
use crate::session::vars::SERVER_VERSION;
use crate::{ConnectParameters, Engine, EngineOptions, Error, Output, Session, TransactionStatus};

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

#[derive(Debug)]
struct Nobody;

impl Activity for Nobody {
    fn backends(&self) -> Vec<Backend> {
        Vec::new()
    }

    fn cancel(&self, _pid: i32) -> bool {
        false
    }

    fn terminate(&self, _pid: i32) -> bool {
        false
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    engine: Arc<Engine>,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let warehouse = format!("file://{}/warehouse", directory.path().display());
    let storage = Storage::with_options(Default::default());
    let stores: Arc<dyn ObjectStoreRegistry> = storage.registry().clone();
    let runtime = RuntimeEnvBuilder::new()
        .with_object_store_registry(stores)
        .with_object_list_cache_limit(0)
        .build_arc()
        .unwrap();
    let backend = SqlBackend::open(&directory.path().join("catalog.db"), &warehouse, "lake").await.unwrap();
    let mut registry = Registry::default();
    let catalog = Catalog::new("lake", 16384, Arc::new(backend), storage);
    match catalog.create_namespace("public", true).await {
        Ok(_) => {}
        Err(e) => panic!("{e}"),
    }
    registry.attach(Arc::new(catalog));
    let results = ResultCacheOptions { budget: 0, longest: 0, again_after: 0 };
    let options = EngineOptions {
        results,
        refreshes_at_once: 2,
        target_partitions: 2,
        prefer_hash_join: true,
        batch_size: 1024,
        statement_timeout_ms: 0,
        idle_session_timeout_ms: 0,
        facts: Vec::new(),
        temporary_directory: format!("file://{}/temporary", directory.path().display()),
    };
    let engine = Engine::new(registry, runtime, options, Arc::new(SystemClock), Arc::new(Nobody)).unwrap();
    Fixture { directory, engine }
}

impl Fixture {
    fn session(&self) -> Session {
        self.engine
            .connect(ConnectParameters {
                user: "auric".into(),
                database: "lake".into(),
                pid: 7,
                settings: vec![],
            })
            .unwrap()
    }
}

/// Result of a statement as text: column names and rows, or the tag.
async fn run(session: &mut Session, text: &str) -> Result<String, Error> {
    run_with(session, text, &[], vec![]).await
}

async fn run_with(
    session: &mut Session,
    text: &str,
    types: &[Option<Type>],
    values: Vec<ScalarValue>,
) -> Result<String, Error> {
    let mut last = String::new();
    for parsed in session.parse(text)? {
        let prepared = session.prepare(&parsed, types).await?;
        last = match session.execute(&prepared, values.clone()).await? {
            Output::Rows(rows) => {
                let batches: Vec<_> = rows.stream.try_collect().await.map_err(|e| Error::from(&e))?;
                let names: Vec<_> = rows.columns.iter().map(|c| c.name.clone()).collect();
                assert_eq!(prepared.columns.as_ref().unwrap(), rows.columns.as_ref());
                let mut lines = vec![names.join("|")];
                for batch in &batches {
                    for row in 0..batch.num_rows() {
                        let values: Vec<String> = batch
                            .columns()
                            .iter()
                            .map(|c| match c.is_null(row) {
                                true => "∅".to_string(),
                                false => array_value_to_string(c, row).unwrap(),
                            })
                            .collect();
                        lines.push(values.join("|"));
                    }
                }
                lines.join("\n")
            }
            Output::Complete(tag) => tag.text(0),
            Output::CopyOut { lines, stream, .. } => {
                let batches: Vec<_> = stream.try_collect().await.map_err(|e| Error::from(&e))?;
                let mut text = lines.header().unwrap_or_default();
                for batch in &batches {
                    for row in 0..batch.num_rows() {
                        for (i, column) in batch.columns().iter().enumerate() {
                            let value =
                                column.is_valid(row).then(|| array_value_to_string(column, row).unwrap());
                            lines.value(i, value.as_deref().map(str::as_bytes), &mut text);
                        }
                        lines.end(&mut text);
                    }
                }
                String::from_utf8(text).unwrap()
            }
            Output::CopyOutBinary { .. } => "COPY OUT".to_string(),
            Output::CopyIn(_) => "COPY IN".to_string(),
            Output::Cached(_) => unreachable!("nothing is kept"),
            Output::Empty => String::new(),
        };
    }
    Ok(last)
}

async fn ok(session: &mut Session, text: &str) -> String {
    match run(session, text).await {
        Ok(result) => result,
        Err(e) => panic!("{text}: {} {} {:?}", e.code, e.message, e.detail),
    }
}

async fn code(session: &mut Session, text: &str) -> String {
    match run(session, text).await {
        Ok(result) => panic!("{text}: {result}"),
        Err(e) => format!("{} {}", e.code, e.message),
    }
}

async fn copy(session: &mut Session, text: &str, data: &str) -> Result<String, Error> {
    let parsed = session.parse(text)?.remove(0);
    let prepared = session.prepare(&parsed, &[]).await?;
    let Output::CopyIn(mut copy) = session.execute(&prepared, vec![]).await? else { panic!() };
    for piece in data.as_bytes().chunks(7) {
        copy.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(copy.finish().await?.text(0))
}

#[tokio::test]
async fn queries_without_tables() {
    let f = fixture().await;
    let s = &mut f.session();
    assert_eq!(ok(s, "select 1").await, "?column?\n1");
    assert_eq!(
        ok(s, "select 1 as a, 'x', null, current_user").await,
        "a|?column?|?column?|current_user\n1|x|∅|auric"
    );
    assert_eq!(ok(s, "select 7/2, 7%2, 1.5+1").await, "?column?|?column?|?column?\n3|1|2.5");
    assert_eq!(ok(s, "select 1+1, 1+1").await, "?column?|?column?\n2|2");
    assert_eq!(ok(s, "values (1,'a'),(2,'b')").await, "column1|column2\n1|a\n2|b");
    assert_eq!(ok(s, "select count from (select count(*) from (values (1),(2)) v) x").await, "count\n2");
    assert_eq!(ok(s, "with t as (select 3 as x) select x from t order by x limit 1").await, "x\n3");
    assert_eq!(ok(s, "select sum(i) from generate_series(1, 10) t(i)").await, "sum\n55");
    assert!(code(s, "select 9223372036854775807 + 1").await.starts_with("22003 bigint out of range"));
    assert!(code(s, "select 1/0").await.starts_with("22012"));
    assert_eq!(code(s, "select 'abc'::int").await, "22P02 invalid input syntax for type integer: \"abc\"");
    assert_eq!(code(s, "select * from nope").await, "42P01 relation \"nope\" does not exist");
    assert_eq!(run(s, "select * from nope").await.unwrap_err().position, Some(15));
    assert_eq!(code(s, "select nope").await, "42703 column \"nope\" does not exist");
    assert!(code(s, "select nope(1)").await.starts_with("42883"));
    assert!(code(s, "delete from t").await.starts_with("42P01"));
    assert!(ok(s, "explain select sum(x) from (values (1)) t(x)").await.starts_with("QUERY PLAN\n"));
    assert!(ok(s, "explain analyze select 1").await.contains("Execution Time"));
}

#[tokio::test]
async fn parameters() {
    let f = fixture().await;
    let s = &mut f.session();
    let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
    let one = ScalarValue::Int64(Some(41));
    assert_eq!(run_with(s, "select $1 + 1", &[], vec![one.clone()]).await.unwrap(), "?column?\n42");
    assert_eq!(run_with(s, "select $1", &[None], vec![text("a")]).await.unwrap(), "?column?\na");
    assert_eq!(
        run_with(s, "select $1::int", &[], vec![ScalarValue::Int32(Some(5))]).await.unwrap(),
        "int4\n5"
    );
    assert_eq!(
        run_with(s, "select $1 * 2", &[Some(Type::NUMERIC)], vec![text("0.055")]).await.unwrap(),
        "?column?\n0.110"
    );
    let limited = "select * from (values (1),(2),(3)) t(x) order by x limit $1";
    assert_eq!(run_with(s, limited, &[], vec![ScalarValue::Int64(Some(2))]).await.unwrap(), "x\n1\n2");
    ok(s, "prepare p (int) as select $1 * 10").await;
    assert_eq!(ok(s, "execute p (4)").await, "?column?\n40");
    assert!(code(s, "execute q (4)").await.starts_with("26000"));
    assert_eq!(ok(s, "deallocate all").await, "DEALLOCATE ALL");
}

#[tokio::test]
async fn settings_and_transactions() {
    let f = fixture().await;
    let s = &mut f.session();
    assert_eq!(ok(s, "show server_version").await, format!("server_version\n{SERVER_VERSION}"));
    assert_eq!(ok(s, "set statement_timeout = 5000").await, "SET");
    assert_eq!(ok(s, "show statement_timeout").await, "statement_timeout\n5s");
    assert_eq!(s.statement_timeout_ms(), 5000);
    assert!(code(s, "set nope = 1").await.starts_with("42704"));
    assert!(ok(s, "show all").await.lines().count() > 50);
    assert_eq!(ok(s, "begin").await, "BEGIN");
    assert_eq!(s.transaction_status(), TransactionStatus::InTransaction);
    assert!(code(s, "select nope").await.starts_with("42703"));
    assert_eq!(s.transaction_status(), TransactionStatus::Failed);
    assert!(code(s, "select 1").await.starts_with("25P02"));
    assert_eq!(ok(s, "commit").await, "ROLLBACK");
    assert_eq!(ok(s, "commit").await, "COMMIT");
    assert_eq!(s.take_notices().len(), 1);
    // COMMIT outside of a transaction is a WARNING, a schema that is there already a NOTICE.
    for (level, count) in [("notice", 2), ("warning", 1), ("error", 0), ("debug1", 2)] {
        ok(s, &format!("set client_min_messages = {level}")).await;
        ok(s, "create schema if not exists public").await;
        ok(s, "commit").await;
        assert_eq!(s.take_notices().len(), count, "{level}");
    }
    ok(s, "begin; declare c cursor for select * from generate_series(1, 5) t(i)").await;
    assert_eq!(ok(s, "fetch 2 from c").await, "i\n1\n2");
    assert_eq!(ok(s, "fetch all from c").await, "i\n3\n4\n5");
    ok(s, "commit").await;
    assert!(code(s, "fetch c").await.starts_with("34000"));
}

#[tokio::test]
async fn tables_of_both_formats() {
    let f = fixture().await;
    let s = &mut f.session();
    for format in ["iceberg", "delta"] {
        ok(s, &format!("create schema {format}")).await;
        ok(s, &format!("set search_path to {format}")).await;
        // Delta has no uuid.
        let uuid = if format == "delta" { "text" } else { "uuid" };
        let create = format!(
            "create table t (id bigint not null, name text, price numeric(10,2), d date, ts timestamptz, u {uuid}, tags text[])"
        );
        assert_eq!(ok(s, &format!("{create} using {format}")).await, "CREATE TABLE");
        assert!(code(s, &create).await.starts_with("42P07"));
        assert_eq!(
            ok(s, "insert into t (id, name, price, d, ts) values (1, 'a', 1.25, '2024-01-02', '2024-01-02 03:04:05+00'), (2, null, 2.345, null, null)").await,
            "INSERT 0 2"
        );
        assert_eq!(
            ok(s, "insert into t (id, u) select 3, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'").await,
            "INSERT 0 1"
        );
        assert_eq!(
            ok(s, "select id, name, price, d from t order by id").await,
            "id|name|price|d\n1|a|1.25|2024-01-02\n2|∅|2.35|∅\n3|∅|∅|∅"
        );
        assert!(code(s, "insert into t (id) values (1, 2)").await.starts_with("42601"));
        assert!(code(s, "insert into t (id, nope) values (1, 2)").await.starts_with("42703"));
        assert!(code(s, "insert into t (id) values ('x')").await.starts_with("22P02"));
        assert!(code(s, "insert into t (name) values ('x')").await.starts_with("23502"), "{format}");
        assert_eq!(ok(s, "select count(*), min(id), max(id) from t").await, "count|min|max\n3|1|3");
        assert_eq!(ok(s, "insert into t by name select 'n' as name, 9 as id").await, "INSERT 0 1");
        let insert = "insert into t (id, name) values ($1, $2)";
        let values = vec![ScalarValue::Int64(Some(10)), ScalarValue::Utf8(Some("p".into()))];
        assert_eq!(run_with(s, insert, &[], values).await.unwrap(), "INSERT 0 1");
        assert_eq!(
            ok(
                s,
                &format!(
                    "create table c using {format} partitioned by (k) as select id % 2 as k, id, name from t"
                )
            )
            .await,
            "SELECT 5"
        );
        assert_eq!(ok(s, "select k, count(*) from c group by k order by k").await, "k|count\n0|2\n1|3");
        assert_eq!(
            ok(s, &format!("create table e using {format} as select * from t where false")).await,
            "SELECT 0"
        );
        assert_eq!(ok(s, "select count(*) from e").await, "count\n0");
        assert_eq!(ok(s, "drop table e, c").await, "DROP TABLE");
        assert!(code(s, "select * from c").await.starts_with("42P01"));
        assert_eq!(ok(s, "drop table if exists c").await, "DROP TABLE");
    }
}

#[tokio::test]
async fn writes_in_transactions_wait_for_commit() {
    let f = fixture().await;
    let (s, other) = (&mut f.session(), &mut f.session());
    ok(s, "create table t (a int)").await;
    ok(s, "begin; insert into t values (1), (2)").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n2");
    assert_eq!(ok(other, "select count(*) from t").await, "count\n0");
    ok(s, "savepoint p; insert into t values (3); rollback to p").await;
    assert_eq!(ok(s, "select sum(a) from t").await, "sum\n3");
    ok(s, "rollback").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n0");
    ok(s, "begin; insert into t values (1); insert into t select a + 1 from t; commit").await;
    assert_eq!(ok(other, "select a from t order by a").await, "a\n1\n2");
    ok(s, "begin; create table n (x int); insert into n values (5)").await;
    assert_eq!(ok(s, "select x from n").await, "x\n5");
    assert!(code(other, "select x from n").await.starts_with("42P01"));
    ok(s, "insert into t values (1)").await;
    ok(s, "rollback").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n2");
    assert!(code(s, "select x from n").await.starts_with("42P01"));
    ok(s, "begin; create table n as select 1 as x; commit").await;
    assert_eq!(ok(other, "select x from n").await, "x\n1");
    ok(s, "begin").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n2");
    ok(other, "insert into t values (9)").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n2");
    ok(s, "commit").await;
    assert_eq!(ok(s, "select count(*) from t").await, "count\n3");
    assert!(code(s, "begin read only; insert into t values (1)").await.starts_with("25006"));
}

#[tokio::test]
async fn copy_in_and_out() {
    let f = fixture().await;
    let s = &mut f.session();
    ok(s, "create table t (a int, b text, c date)").await;
    assert_eq!(copy(s, "copy t from stdin", "1\tx\\ty\t2024-01-02\n2\t\\N\t\\N\n").await.unwrap(), "COPY 2");
    let csv = "c,a\n2020-02-02,3\n,\"4\"\n";
    assert_eq!(copy(s, "copy t (c, a) from stdin (format csv, header)", csv).await.unwrap(), "COPY 2");
    assert_eq!(
        ok(s, "select a, b, c from t order by a").await,
        "a|b|c\n1|x\ty|2024-01-02\n2|∅|∅\n3|∅|2020-02-02\n4|∅|∅"
    );
    let e = copy(s, "copy t from stdin", "5\ta\t2024-01-01\nx\ta\t2024-01-01\n").await.unwrap_err();
    assert_eq!((e.code.0, e.message.as_str()), ("22P02", "invalid input syntax for type integer: \"x\""));
    assert_eq!(e.detail.as_deref(), Some("COPY t, line 2, column a: \"x\""));
    let e = copy(s, "copy t from stdin", "5\ta\n").await.unwrap_err();
    assert_eq!((e.code.0, e.message.as_str()), ("22P04", "missing data for column \"c\""));
    assert_eq!(ok(s, "select count(*) from t").await, "count\n4");
    assert_eq!(ok(s, "copy (select a, b from t order by a limit 2) to stdout").await, "1\tx\\ty\n2\t\\N\n");
    assert_eq!(
        ok(s, "copy (select a, b, c from t order by a limit 2) to stdout (format csv, header)").await,
        "a,b,c\n1,x\ty,2024-01-02\n2,,\n"
    );
    assert_eq!(ok(s, "copy t (a) to stdout").await.lines().count(), 4);
}

#[tokio::test]
async fn files_as_tables() {
    let f = fixture().await;
    let s = &mut f.session();
    let path = f.directory.path().join("x.csv");
    std::fs::write(&path, "id,name,when,v\n1,a,2024-01-02,1.5\n2,NA,NA,NA\n3,\"b\nc\",2024-02-03,2\n")
        .unwrap();
    let path = path.display();
    assert_eq!(ok(s, &format!("select count(*) from read_csv('{path}')")).await, "count\n3");
    assert_eq!(
        ok(s, &format!("select sum(v) as v, max(\"when\") as w, count(name) as n from read_csv('{path}', nullstr => 'NA')")).await,
        "v|w|n\n3.5|2024-02-03|2"
    );
    assert_eq!(
        ok(
            s,
            &format!(
                "create table t as select * from read_csv('file://{}/*.csv', nullstr = 'NA')",
                f.directory.path().display()
            )
        )
        .await,
        "SELECT 3"
    );
    assert_eq!(ok(s, "select id, v from t where v is not null order by id").await, "id|v\n1|1.5\n3|2.0");
    // Files that differ in the types that their values seem to have.
    for (name, id) in [("1", "7"), ("2", "n/a")] {
        std::fs::write(f.directory.path().join(format!("drop_{name}.csv")), format!("id\n{id}\n")).unwrap();
    }
    let drops = f.directory.path().join("drop_*.csv");
    let query = format!("select id from read_csv('{}', all_varchar => true) order by id", drops.display());
    assert_eq!(ok(s, &query).await, "id\n7\nn/a");
    assert_eq!(ok(s, &query.replace(", all_varchar => true", "")).await, "id\n7\nn/a");
    std::fs::write(f.directory.path().join("drop_2.csv"), "id\n7.5\n").unwrap();
    assert_eq!(ok(s, &query.replace(", all_varchar => true", "")).await, "id\n7.0\n7.5");
    // Rows are read by position.
    for (name, text) in [("1", "id,name\n1,a\n"), ("2", "name,id\na,1\n")] {
        std::fs::write(f.directory.path().join(format!("drop_{name}.csv")), text).unwrap();
    }
    let refused = code(s, &query).await;
    assert!(refused.starts_with("22P04"), "{refused}");
    assert!(code(s, "select * from read_csv('/nowhere/x.csv')").await.starts_with("58P01"));
    assert!(code(s, &format!("select * from read_csv('{path}', nope => 1)")).await.starts_with("22023"));
}
