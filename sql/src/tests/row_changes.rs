//! UPDATE, DELETE and MERGE: what only a driver sees (parameters, Describe), plans, EXPLAIN.

use postgres_types::Type;

use super::*;

async fn filled(f: &Fixture) -> Session {
    let mut s = f.session();
    for statement in [
        "create table t (id int not null, name text, n int, price numeric(8,2), day date)",
        "insert into t values (1, 'a', 1, 1.5, '2024-01-01'), (2, 'b', 2, 2.5, '2024-01-02'), (3, 'c', 3, 3.5, null)",
    ] {
        ok(&mut s, statement).await;
    }
    s
}

async fn described(s: &mut Session, text: &str) -> (Vec<Type>, Option<Vec<(String, Type)>>) {
    let parsed = s.parse(text).unwrap().remove(0);
    let prepared = match s.prepare(&parsed, &[]).await {
        Ok(prepared) => prepared,
        Err(e) => panic!("{text}: {} {}", e.code, e.message),
    };
    let columns = prepared.columns.clone();
    let columns = columns.map(|all| all.into_iter().map(|c| (c.name, c.pg_type)).collect());
    (prepared.parameters.clone(), columns)
}

#[tokio::test]
async fn parameters_have_the_types_of_their_columns_and_describing_runs_nothing() {
    let f = fixture().await;
    let s = &mut filled(&f).await;
    let (parameters, columns) = described(
        s,
        "update t set name = $1, price = $2, day = $4 where id = $3 returning id, price * 2, name as x",
    )
    .await;
    assert_eq!(parameters, [Type::TEXT, Type::NUMERIC, Type::INT4, Type::DATE]);
    let column = |name: &str, t: Type| (name.to_string(), t);
    assert_eq!(
        columns.unwrap(),
        [column("id", Type::INT4), column("?column?", Type::NUMERIC), column("x", Type::TEXT)]
    );
    let (parameters, columns) = described(s, "delete from t where name = $1 and n > $2").await;
    assert_eq!((parameters, columns), (vec![Type::TEXT, Type::INT4], None));
    let (parameters, columns) = described(
        s,
        "merge into t using (select $1::int as id) s on t.id = s.id when matched and n < $2 then update set day = $3 \
         when not matched then insert (id, name) values ($1, $4) returning merge_action(), t.*",
    )
    .await;
    assert_eq!(parameters, [Type::INT4, Type::INT4, Type::DATE, Type::TEXT]);
    let names: Vec<String> = columns.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["merge_action", "id", "name", "n", "price", "day"]);
    assert_eq!(ok(s, "select count(*), sum(n) from t").await, "count|sum\n3|6");
}

#[tokio::test]
async fn values_of_parameters_reach_source_condition_and_values() {
    let f = fixture().await;
    let s = &mut filled(&f).await;
    let int = |n: i32| ScalarValue::Int32(Some(n));
    let text = |t: &str| ScalarValue::Utf8(Some(t.into()));
    let sql = "update t set name = $1, n = n + $2 where id = $3 returning id, name, n";
    assert_eq!(run_with(s, sql, &[], vec![text("x"), int(10), int(2)]).await.unwrap(), "id|name|n\n2|x|12");
    let sql = "merge into t using (select i, i * $1 as v from generate_series(2, 4) g(i) where i <> $2) s \
               on t.id = s.i and t.n <> $3 when matched then update set n = v \
               when not matched then insert (id, name) values (i, $4)";
    let big = |n: i64| ScalarValue::Int64(Some(n));
    assert_eq!(run_with(s, sql, &[], vec![big(100), big(3), int(0), text("new")]).await.unwrap(), "MERGE 2");
    assert_eq!(
        ok(s, "select id, name, n from t order by id").await,
        "id|name|n\n1|a|1\n2|x|200\n3|c|3\n4|new|∅"
    );
    ok(s, "prepare p (int) as delete from t where id = $1").await;
    assert_eq!(ok(s, "execute p(4)").await, "DELETE 1");
    assert_eq!(ok(s, "execute p(4)").await, "DELETE 0");
}

#[tokio::test]
async fn explain_shows_plans_and_impact_and_commits_nothing() {
    let f = fixture().await;
    let s = &mut filled(&f).await;
    let merge = "merge into t using (values (1, 9), (7, 7)) s(k, v) on t.id = s.k \
                 when matched then update set n = v when not matched then insert (id) values (k)";
    let plan = ok(s, &format!("explain {merge}")).await;
    assert!(plan.contains("RowChangeExec") && plan.contains("HashJoinExec"), "{plan}");
    let impact = ok(s, &format!("explain (impact) {merge}")).await;
    let lines: Vec<&str> = impact.lines().collect();
    assert!(
        lines.starts_with(&["QUERY PLAN", "Rows Inserted: 1", "Rows Updated: 1", "Rows Deleted: 0"]),
        "{impact}"
    );
    assert_eq!(ok(s, "select count(*), sum(n) from t").await, "count|sum\n3|6");
    let impact = ok(s, "explain (impact) insert into t (id) values (8), (9)").await;
    assert!(impact.starts_with("QUERY PLAN\nRows Inserted: 2\nRows Updated: 0\n"), "{impact}");
    assert!(ok(s, "explain insert into t (id) values (8)").await.contains("Exec"));
    assert_eq!(ok(s, "select count(*), sum(n) from t").await, "count|sum\n3|6");
    assert!(code(s, "explain (impact) select 1").await.starts_with("22023"));
    let analyzed = ok(s, &format!("explain analyze {merge}")).await;
    assert!(analyzed.contains("Execution Time"), "{analyzed}");
    assert_eq!(ok(s, "select count(*), sum(n) from t").await, "count|sum\n4|14");
}

/// The target's files are chosen by the source's keys before any of them is read.
#[tokio::test]
async fn keys_of_the_source_prune_the_target() {
    let f = fixture().await;
    let s = &mut f.session();
    ok(s, "create table p (id int, part int, v int) partitioned by (part)").await;
    ok(s, "insert into p select i, i % 4, 0 from generate_series(1, 40) g(i)").await;
    ok(s, "create table keys (id int, part int)").await;
    ok(s, "insert into keys values (5, 1), (9, 1), (null, null)").await;
    for statement in [
        "merge into p using keys k on p.part = k.part and p.id = k.id when matched then update set v = v + 1",
        "update p set v = v + 1 from keys k where k.part = p.part and k.id = p.id",
        "merge into p using keys k on p.part = k.part and p.id = k.id when matched then update set v = v + 1 \
         when not matched and k.id is not null then insert (id) values (k.id)",
    ] {
        let plan = ok(s, &format!("explain analyze {statement}")).await;
        let scans = plan.lines().filter(|line| line.contains("part=1")).count();
        assert!(scans > 0 && !plan.contains("part=2") && !plan.contains("part=0"), "{plan}");
    }
    assert_eq!(ok(s, "select id, v from p where v > 0 order by id").await, "id|v\n5|3\n9|3");
    // Without a match everywhere, every row must be read.
    let all =
        "merge into p using keys k on p.part = k.part and p.id = k.id when not matched by source then delete";
    assert_eq!(ok(s, all).await, "MERGE 38");
}

#[tokio::test]
async fn syntax() {
    let f = fixture().await;
    let s = &mut filled(&f).await;
    assert_eq!(code(s, "delete from t where current of c").await, "0A000 WHERE CURRENT OF is not supported");
    assert_eq!(run(s, "update t set nope = 1").await.unwrap_err().position, Some(14));
    assert_eq!(run(s, "update t set n = nope").await.unwrap_err().position, Some(18));
    assert_eq!(run(s, "delete from nope").await.unwrap_err().position, Some(13));
    assert_eq!(
        run(s, "merge into t using nope n on t.id = n.id when matched then delete")
            .await
            .unwrap_err()
            .position,
        Some(20)
    );
    assert_eq!(ok(s, "with x as (select 7 as id) insert into t (id) select id from x").await, "INSERT 0 1");
    assert_eq!(ok(s, "with x as (select 7 as id) select * from x").await, "id\n7");
    assert_eq!(ok(s, "with x as (select 7 as id) delete from t using x where x.id = t.id").await, "DELETE 1");
    assert!(code(s, "with x as (delete from t returning *) select * from x").await.starts_with("0A000"));
    ok(s, "set default_transaction_read_only = on").await;
    assert!(code(s, "delete from t").await.starts_with("25006"));
}
