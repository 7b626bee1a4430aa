//! Kept plans of statements over system relations, against plans that are made for each statement: those of
//! cursors.

use super::*;
use crate::introspection::Question;

/// What clients ask, for `{name}`, a table, and `{oid}`, its OID.
const QUESTIONS: &[&str] = &[
    "select n.nspname, c.relname, c.relkind from pg_catalog.pg_class c
     left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'v') and n.nspname <> 'pg_catalog' and pg_catalog.pg_table_is_visible(c.oid)
       and c.relname = '{name}' order by 1, 2",
    "select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       (select pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) from pg_catalog.pg_attrdef d
        where d.adrelid = a.attrelid and d.adnum = a.attnum and a.atthasdef)
     from pg_catalog.pg_attribute a where a.attrelid = 'public.{name}'::regclass and a.attnum > 0 order by a.attnum",
    "select attname from pg_attribute where attrelid = '{oid}' and attnum > 0 and not attisdropped order by attnum",
    "select attname from pg_attribute where attrelid = {oid} and attnum > 0 order by attnum desc limit 1",
    "select c.oid, n.nspname, c.relname from pg_catalog.pg_class c
     left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where c.relname operator(pg_catalog.~) '^({name})$' collate pg_catalog.default
       and pg_catalog.pg_table_is_visible(c.oid) order by 2, 3",
    "select count(*), '{name}' as asked from pg_class where relname like '{name}%' or relname in ('t_2', '{name}')",
    "select table_name, column_name, data_type, ordinal_position from information_schema.columns
     where table_schema = 'public' and table_name = '{name}' order by 4",
    "select * from (select n.nspname, c.relname, a.attname, row_number() over (partition by a.attrelid order by a.attnum) as attnum,
       case when t.typname = 'int4' then '{name}' else t.typname end as kind
     from pg_namespace n join pg_class c on c.relnamespace = n.oid join pg_attribute a on a.attrelid = c.oid
     join pg_type t on a.atttypid = t.oid
     where a.attnum > 0 and n.nspname like 'public' and c.relname like '{name}') c where true order by 1, 2, 4",
    "with c as (select oid, relname from pg_class where relname = '{name}')
     select c.relname, a.attname from c join pg_attribute a on a.attrelid = c.oid where a.attnum > 0
     union all select 'none', null where not exists (select 1 from pg_class where relname = '{name}') order by 2",
    "select c.oid::regclass, (select count(*) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0)
     from pg_class c where c.oid = '{name}'::regclass",
];

/// The rows without the line of names.
async fn rows(session: &mut Session, text: &str) -> String {
    let result = run(session, text).await.unwrap_or_else(|e| e.message.clone());
    result.split_once('\n').map(|(_, rows)| rows.to_string()).unwrap_or(result)
}

async fn by_cursor(session: &mut Session, text: &str) -> String {
    run(session, "begin").await.unwrap();
    let declared = run(session, &format!("declare c cursor for {text}")).await;
    let result = match declared {
        Ok(_) => rows(session, "fetch all from c").await,
        Err(e) => e.message,
    };
    run(session, "rollback").await.unwrap();
    result
}

async fn compare(session: &mut Session, name: &str, oid: &str) {
    for question in QUESTIONS {
        let text = question.replace("{name}", name).replace("{oid}", oid);
        let expected = by_cursor(session, &text).await;
        assert_eq!(rows(session, &text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn kept_plans_answer_as_new_ones() {
    let fixture = fixture().await;
    let mut session = fixture.session();
    for number in 0..4 {
        let columns: String = (0..=number).map(|n| format!(", c_{n} text")).collect();
        run(&mut session, &format!("create table t_{number} (id int not null{columns})")).await.unwrap();
    }
    let mut other = fixture.session();
    for _ in 0..3 {
        for name in ["t_0", "t_3", "t_1", "nothing", "it''s", "t%"] {
            let text = format!("select coalesce(max(oid), 7) from pg_class where relname = '{name}'");
            let oid = ok(&mut session, &text).await.lines().last().unwrap().to_string();
            compare(&mut session, name, &oid).await;
            compare(&mut other, name, &oid).await;
        }
        // What was kept is of no use from now on.
        run(&mut session, "alter table t_1 rename to t_5").await.unwrap();
        run(&mut session, "alter table t_3 rename to t_1").await.unwrap();
        run(&mut session, "alter table t_5 rename to t_3").await.unwrap();
    }
}

#[tokio::test]
async fn kept_plans_read_large_relations_by_key() {
    let fixture = fixture().await;
    let mut session = fixture.session();
    let columns: Vec<String> = (0..1_000).map(|n| format!("c_{n} int")).collect();
    run(&mut session, &format!("create table wide ({})", columns.join(", "))).await.unwrap();
    for text in [
        "select attname from pg_attribute where attrelid = 'wide'::regclass",
        "select a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relname = 'wide'",
        "select a.attname from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
         where c.relname = 'wide'",
    ] {
        let parsed = session.parse(text).unwrap().remove(0);
        let question = Question::of(&parsed, &[]).unwrap();
        let plan = session.kept_plan(&question, &parsed).await.unwrap().unwrap().shown();
        assert!(plan.contains("KeyedScan"), "{text}:\n{plan}");
    }
}

#[tokio::test]
async fn kept_plans_know_the_session() {
    let fixture = fixture().await;
    let (mut one, mut other) = (fixture.session(), fixture.session());
    run(&mut one, "create schema elsewhere").await.unwrap();
    run(&mut one, "create table elsewhere.t (a int)").await.unwrap();
    let visible = "select current_schema(), pg_table_is_visible(oid) from pg_class where relname = 't'";
    assert_eq!(rows(&mut one, visible).await, "public|false");
    run(&mut other, "set search_path to elsewhere").await.unwrap();
    assert_eq!(rows(&mut other, visible).await, "elsewhere|true");
    assert_eq!(rows(&mut one, visible).await, "public|false");
    // What a transaction has changed is its own.
    run(&mut one, "begin").await.unwrap();
    run(&mut one, "create table t (a int)").await.unwrap();
    let count = "select count(*) from pg_class where relname = 't'";
    assert_eq!(rows(&mut one, count).await, "2");
    assert_eq!(rows(&mut other, count).await, "1");
    run(&mut one, "rollback").await.unwrap();
    assert_eq!(rows(&mut one, count).await, "1");
    // A temporary table, too.
    run(&mut other, "create temporary table t (a int)").await.unwrap();
    assert_eq!(rows(&mut other, count).await, "2");
    assert_eq!(rows(&mut one, count).await, "1");
    // Time goes on.
    let moment = "select extract(epoch from clock_timestamp()) > 0, now() from pg_class where relname = 't'";
    let first = rows(&mut one, moment).await;
    assert_ne!(rows(&mut one, moment).await, first);
}

#[tokio::test]
async fn kept_plans_take_parameters() {
    let fixture = fixture().await;
    let mut session = fixture.session();
    run(&mut session, "create table t (a int, b int)").await.unwrap();
    let text =
        "select attname from pg_attribute where attrelid = 't'::regclass and attnum > $1 and attname <> 'x'
                order by attnum";
    for (least, expected) in [(0, "attname\na\nb"), (1, "attname\nb"), (2, "attname"), (0, "attname\na\nb")] {
        let values = vec![ScalarValue::Int32(Some(least))];
        assert_eq!(run_with(&mut session, text, &[Some(Type::INT4)], values).await.unwrap(), expected);
    }
    let missing = run(&mut session, "select attname from pg_attribute where attrelid = 'u'::regclass").await;
    assert_eq!(missing.unwrap_err().code.0, "42P01");
    let wrong = run(&mut session, "select attname from pg_attribute where attrelid = 'u'").await;
    assert_eq!(wrong.unwrap_err().code.0, "22P02");
}

/// What SQLAlchemy asks for the columns of a table, as `psycopg` sends it.
const SQLALCHEMY: &str = "select a.attname, format_type(a.atttypid, a.atttypmod),
       case when a.atthasdef then (select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d
         where a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum) end,
       case when a.attidentity <> $1::varchar then (select json_build_object($2::varchar, a.attidentity = $3::varchar,
         $4::varchar, s.seqstart) from pg_sequence s where s.seqrelid =
           cast(cast(pg_get_serial_sequence(cast(cast(a.attrelid as regclass) as text), a.attname) as regclass) as oid)) end,
       case when a.attcollation <> $5::integer and (select t.typcollation from pg_type t where t.oid = a.atttypid) <> a.attcollation
         then (select json_build_object($2::varchar, c.collname, $6::varchar,
           case when pg_collation_is_visible(c.oid) then null else n.nspname end)
           from pg_collation c join pg_namespace n on n.oid = c.collnamespace where c.oid = a.attcollation) end
     from pg_class c left join pg_attribute a on c.oid = a.attrelid and a.attnum > $7::smallint
     join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = any (array[$8::varchar, $9::varchar]) and n.nspname = $10::varchar and c.relname in ($11::varchar)
     order by c.relname, a.attnum";

#[tokio::test]
async fn arrays_of_parameters_are_kept() {
    let fixture = fixture().await;
    let mut session = fixture.session();
    run(&mut session, "create table t (a int not null, b text[])").await.unwrap();
    run(&mut session, "create table u (c numeric(5, 2))").await.unwrap();
    let text = |text: &str| ScalarValue::from(text);
    let mut values: Vec<ScalarValue> = ["", "always", "a", "start"].map(text).to_vec();
    values.extend([ScalarValue::Int32(Some(0)), text("schema"), ScalarValue::Int16(Some(0))]);
    values.extend(["r", "v", "public", "t"].map(text));
    // The fourth column is of no type, as there are no sequences.
    for (table, expected) in [("t", "a|integer|∅||∅\nb|text[]|∅||∅"), ("u", "c|numeric(5,2)|∅||∅")]
    {
        values.pop();
        values.push(text(table));
        let parsed = session.parse(SQLALCHEMY).unwrap().remove(0);
        let prepared = session.prepare(&parsed, &[]).await.unwrap();
        assert!(prepared.question.is_some(), "planned anew");
        let found = run_with(&mut session, SQLALCHEMY, &[], values.clone()).await.unwrap();
        assert_eq!(found.split_once('\n').map(|(_, rows)| rows), Some(expected));
    }
}
