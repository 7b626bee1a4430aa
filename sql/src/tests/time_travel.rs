//! Earlier versions by Iceberg snapshot ids, which no text can know beforehand, and plans over them.

use super::*;

/// Ids of the table's snapshots, oldest first.
async fn ids(s: &mut Session, table: &str) -> Vec<i64> {
    let rows = ok(s, &format!("select snapshot_id from \"{table}$snapshots\" order by committed_at")).await;
    rows.lines().skip(1).map(|line| line.parse().unwrap()).collect()
}

#[tokio::test]
async fn snapshots_of_iceberg_have_their_own_rows_and_columns() {
    let f = fixture().await;
    let s = &mut f.session();
    ok(s, "create table t (a int, b text)").await;
    for (a, b) in [(1, "x"), (2, "y"), (3, "z")] {
        ok(s, &format!("insert into t values ({a}, '{b}')")).await;
    }
    ok(s, "update t set b = 'changed' where a = 1").await;
    let ids = ids(s, "t").await;
    assert_eq!(ids.len(), 4);
    for (i, id) in ids.iter().take(3).enumerate() {
        let counted = ok(s, &format!("select count(*), min(b) from t version as of {id}")).await;
        assert_eq!(counted, format!("count|min\n{}|x", i + 1));
    }
    let both =
        format!("select n.b, o.b from t n join t version as of {} o on n.a = o.a where n.a = 1", ids[0]);
    assert_eq!(ok(s, &both).await, "b|b\nchanged|x");
    assert_eq!(
        ok(s, &format!("select count(*) from \"t$files\" for version as of {}", ids[1])).await,
        "count\n2"
    );
}

#[tokio::test]
async fn a_plan_over_a_pinned_version_outlives_commits_but_not_the_table() {
    let f = fixture().await;
    let s = &mut f.session();
    ok(s, "create table t (a int) using delta").await;
    ok(s, "insert into t values (1)").await;
    let parse = |s: &Session, text: &str| s.parse(text).unwrap().remove(0);
    let parsed = parse(s, "select a from t version as of 1");
    let prepared = Arc::new(s.prepare(&parsed, &[]).await.unwrap());
    let plan = |p: &crate::statement::Prepared| Arc::as_ptr(p.planned.lock().as_ref().unwrap());
    let first = plan(&prepared);
    ok(s, "insert into t values (2)").await;
    let rows = s.execute(&prepared, vec![]).await.unwrap();
    assert!(matches!(rows, Output::Rows(_)));
    assert_eq!(plan(&prepared), first, "planned once");
    // Another table of the same name.
    ok(s, "drop table t").await;
    ok(s, "create table t (a int) using delta").await;
    let error = s.execute(&prepared, vec![]).await.err().unwrap();
    assert_eq!(error.code.to_string(), "22023", "{}", error.message);
    // What a name or a time means changes.
    for version in ["timestamp as of now()", "timestamp as of '2100-01-01'"] {
        let parsed = parse(s, &format!("select a from t {version}"));
        let prepared = s.prepare(&parsed, &[]).await.unwrap();
        assert!(prepared.planned.lock().as_ref().unwrap().dependencies.is_none(), "{version}");
    }
}

#[tokio::test]
async fn times_are_read_in_the_time_zone_of_the_session() {
    let f = fixture().await;
    let s = &mut f.session();
    ok(s, "create table t (a int)").await;
    ok(s, "insert into t values (1)").await;
    // A local time one hour from now in a zone two hours ahead is an hour ago in UTC. (POSIX: east is minus.)
    ok(s, "set time zone 'UTC'").await;
    let shown = ok(s, "select to_char(now() + interval '1 hour', 'YYYY-MM-DD HH24:MI:SS')").await;
    let local = shown.lines().nth(1).unwrap().to_string();
    assert_eq!(ok(s, &format!("select count(*) from t timestamp as of '{local}'")).await, "count\n1");
    ok(s, "set time zone '-02:00'").await;
    assert!(code(s, &format!("select count(*) from t timestamp as of '{local}'")).await.starts_with("22023"));
    assert!(
        code(s, &format!("select * from t timestamp as of timestamp '{local}'")).await.starts_with("22023")
    );
    let with_offset = format!("select count(*) from t timestamp as of '{local}+00'");
    assert_eq!(ok(s, &with_offset).await, "count\n1");
}
