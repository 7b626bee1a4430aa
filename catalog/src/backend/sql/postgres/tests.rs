//! Broken connections, deadlocks and other programs, at a real server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::TableIdent;
use crate::backend::change::{ApplyOutcome, EntryChange};
use crate::backend::postgres_server::{PostgresServer, options};
use crate::backend::sql::SqlBackend;
use crate::backend::{Backend, NewTableEntry, SwapOutcome};
use crate::table::TableFormat;

async fn open(options: &PostgresOptions) -> SqlBackend {
    SqlBackend::open_postgres(options, "file:///warehouse", "lake").await.unwrap()
}

fn iceberg(name: &str) -> NewTableEntry {
    NewTableEntry {
        ident: TableIdent::new("public", name),
        format: TableFormat::Iceberg,
        pointer: "1".into(),
        external: false,
    }
}

fn swap(name: &str) -> EntryChange {
    EntryChange::Swap { ident: TableIdent::new("public", name), expected: "1".into(), new: "2".into() }
}

async fn pointer(backend: &SqlBackend, name: &str) -> String {
    backend.table(&TableIdent::new("public", name)).await.unwrap().unwrap().pointer
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
    connection.execute(sqlx::raw_sql(sql)).await.map(|_| ())
}

#[test]
fn urls() {
    let url = |text: &str| connection_url(&PostgresOptions { url: Secret::new(text), ..options("") });
    let (url_of, shown) = url("postgresql+psycopg2://me:hush@db:6543/cat?sslmode=require").unwrap();
    assert_eq!(shown, "postgres://db:6543/cat");
    assert!(
        url_of.as_str().starts_with("postgres://me:hush@db:6543/cat?sslmode=require&options"),
        "{url_of}"
    );
    for text in ["", "cat", "mysql://db/cat", "postgres:cat", "file:///cat"] {
        assert!(matches!(url(text), Err(Error::Invalid(message)) if !message.contains("hush")), "{text}");
    }
    let options = PostgresOptions {
        password: Some(Secret::new("p@/:%?ß")),
        schema: Some("my \"own\"".into()),
        ..options("postgres://me@db/cat")
    };
    let (url, shown) = connection_url(&options).unwrap();
    assert_eq!((url.password(), shown.as_str()), (Some("p%40%2F%3A%25%3F%C3%9F"), "postgres://db/cat"));
    let pairs: BTreeMap<_, _> = url.query_pairs().collect();
    assert_eq!(pairs["options[search_path]"], "\"my \"\"own\"\"\"");
    assert!(!format!("{options:?}").contains("p@"));
}

/// Two of the same name in different schemas, made by eight servers at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_layout_is_created_once() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.url(&server.new_database().await);
    let openers: Vec<_> = (0..8)
        .map(|number| {
            let schema = ["a b", "C"][number % 2].to_string();
            let options = PostgresOptions { schema: Some(schema), ..options(&url) };
            tokio::spawn(async move { open(&options).await })
        })
        .collect();
    let mut backends = Vec::new();
    for opener in openers {
        backends.push(opener.await.unwrap());
    }
    backends[0].create_table(&iceberg("t")).await.unwrap();
    for (number, backend) in backends.iter().enumerate() {
        assert_eq!(backend.tables("public").await.unwrap().len(), (number + 1) % 2, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_is_survived() {
    let Some(server) = PostgresServer::start() else { return };
    let options = PostgresOptions {
        timeout: Duration::from_secs(2),
        ..options(&server.url(&server.new_database().await))
    };
    let backend = open(&options).await;
    for name in ["a", "b", "c"] {
        backend.create_table(&iceberg(name)).await.unwrap();
    }
    for orders in [&["restart"][..], &["stop", "start"]] {
        // Several connections, all of which break.
        let lookups = (0..8).map(|_| backend.tables("public"));
        futures::future::try_join_all(lookups).await.unwrap();
        orders.iter().for_each(|order| server.order(order));
        assert_eq!(backend.tables("public").await.unwrap().len(), 3);
        orders.iter().for_each(|order| server.order(order));
        backend.create_namespace(orders[0], &BTreeMap::new()).await.unwrap();
    }
    server.order("stop");
    let ident = TableIdent::new("public", "a");
    let reading = backend.table(&ident).await.unwrap_err();
    assert!(
        matches!(&reading, Error::CatalogUnavailable { message, .. } if message.contains("/test0 ")),
        "{reading:?}"
    );
    let writing = backend.swap_pointer(&ident, "1", "2").await.unwrap_err();
    assert!(matches!(writing, Error::CatalogUnavailable { .. }), "{writing:?}");
    let opening = SqlBackend::open_postgres(&options, "file:///w", "lake").await.unwrap_err();
    assert!(matches!(opening, Error::CatalogUnavailable { .. }), "{opening:?}");
    server.order("start");
    assert!(matches!(backend.swap_pointer(&ident, "1", "2").await.unwrap(), SwapOutcome::Swapped));
    assert_eq!(pointer(&backend, "a").await, "2");
}

const PASS: u8 = 0;
/// The database commits, the answer is lost.
const LOSE_ANSWER: u8 = 1;
/// The question is lost.
const LOSE_COMMIT: u8 = 2;
/// As `LOSE_ANSWER`, and nothing is heard of the database any more.
const LOSE_ALL: u8 = 3;
const DEAD: u8 = 4;

/// Lies between us and the database. Returns its port.
async fn proxy(server_port: u16, mode: Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
            if mode.load(Ordering::SeqCst) != DEAD {
                tokio::spawn(carry(client, server, mode.clone()));
            }
        }
    });
    port
}

async fn carry(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) {
    let (mut question, mut answer) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(length @ 1..) = read else { return };
                let is_commit = question[..length].windows(6).any(|text| text == b"COMMIT");
                match mode.load(Ordering::SeqCst) {
                    DEAD => return,
                    LOSE_COMMIT if is_commit => {
                        mode.store(PASS, Ordering::SeqCst);
                        return;
                    }
                    how @ (LOSE_ANSWER | LOSE_ALL) if is_commit => {
                        // Dead before it has committed: nobody gets to know, however long that takes.
                        mode.store(if how == LOSE_ALL { DEAD } else { PASS }, Ordering::SeqCst);
                        server.write_all(&question[..length]).await.unwrap();
                        // It answers, so it has committed.
                        assert!(server.read(&mut answer).await.unwrap() > 0);
                        return;
                    }
                    _ => server.write_all(&question[..length]).await.unwrap(),
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                client.write_all(&answer[..length]).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_became_of_a_commit_is_found_out() {
    let Some(server) = PostgresServer::shared() else { return };
    let mode = Arc::new(AtomicU8::new(PASS));
    let port = proxy(server.port, mode.clone()).await;
    let url = format!("postgresql://auric@127.0.0.1:{port}/{}?sslmode=disable", server.new_database().await);
    let backend = open(&options(&url)).await;
    let set = |to| mode.store(to, Ordering::SeqCst);

    set(LOSE_ANSWER);
    backend.create_table(&iceberg("a")).await.unwrap();
    backend.create_table(&iceberg("b")).await.unwrap();
    set(LOSE_ANSWER);
    let swapped = backend.apply(&[swap("a"), swap("b")]).await.unwrap();
    assert!(matches!(swapped, ApplyOutcome::Applied), "{swapped:?}");
    assert_eq!((pointer(&backend, "a").await, pointer(&backend, "b").await), ("2".into(), "2".into()));

    // Certainly not made, and told so.
    let ident = TableIdent::new("public", "c");
    backend.create_table(&iceberg("c")).await.unwrap();
    set(LOSE_COMMIT);
    let refused = backend.swap_pointer(&ident, "1", "2").await.unwrap_err();
    assert!(matches!(refused, Error::CatalogUnavailable { .. }), "{refused:?}");
    assert_eq!(pointer(&backend, "c").await, "1");

    // Silence is waited for, so not for long; but what comes before it must be in time on a busy machine.
    let hasty = open(&PostgresOptions { timeout: Duration::from_millis(1500), ..options(&url) }).await;
    set(LOSE_ALL);
    let unknown = hasty.swap_pointer(&ident, "1", "2").await.unwrap();
    assert!(matches!(unknown, SwapOutcome::Unknown(_)), "{unknown:?}");
    set(PASS);
    assert_eq!(pointer(&backend, "c").await, "2");
    set(LOSE_ALL);
    let unknown = hasty.create_table(&iceberg("d")).await.unwrap_err();
    // Not `CatalogUnavailable`, after which files are deleted.
    assert!(matches!(unknown, Error::CatalogDatabase { .. }), "{unknown:?}");
    set(PASS);
    assert_eq!(pointer(&backend, "d").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deadlocks_are_tried_again_and_long_locks_told() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.url(&server.new_database().await);
    let backend = open(&options(&url)).await;
    for name in ["a", "b"] {
        backend.create_table(&iceberg(name)).await.unwrap();
    }
    let mut other = PgConnection::connect(&url).await.unwrap();
    // Then it is ours that the database undoes.
    run(&mut other, "SET deadlock_timeout = '1min'").await.unwrap();
    let touch_b = "UPDATE iceberg_tables SET previous_metadata_location = 'x' WHERE table_name = 'b'";
    let touch_a = "UPDATE iceberg_tables SET previous_metadata_location = 'x' WHERE table_name = 'a'";
    run(&mut other, "BEGIN").await.unwrap();
    run(&mut other, touch_b).await.unwrap();
    let changes = [swap("a"), swap("b")];
    let making = backend.apply(&changes);
    let crossing = async {
        let mut watcher = PgConnection::connect(&url).await.unwrap();
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = \
                     (SELECT oid FROM pg_database WHERE datname = current_database()) OR NOT granted AND database IS NULL";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        run(&mut other, touch_a).await.unwrap();
        run(&mut other, "COMMIT").await.unwrap();
    };
    let (made, ()) = tokio::join!(making, crossing);
    assert!(matches!(made, Ok(ApplyOutcome::Applied)), "{made:?}");
    assert_eq!((pointer(&backend, "a").await, pointer(&backend, "b").await), ("2".into(), "2".into()));

    let hasty = open(&PostgresOptions { timeout: Duration::from_secs(3), ..options(&url) }).await;
    run(&mut other, "BEGIN").await.unwrap();
    run(&mut other, touch_a).await.unwrap();
    let refused = hasty.swap_pointer(&TableIdent::new("public", "a"), "2", "3").await.unwrap_err();
    assert!(refused.to_string().contains("is locked by another program"), "{refused}");
    assert_eq!(pointer(&hasty, "a").await, "2");
    run(&mut other, "ROLLBACK").await.unwrap();
}

/// A table of either format under one name, made at the same time by programs that do not know each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn names_are_not_taken_twice() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.url(&server.new_database().await);
    let backend = open(&options(&url)).await;
    let mut other = PgConnection::connect(&url).await.unwrap();
    let insert = "INSERT INTO iceberg_tables VALUES ('lake', 'public', 't', 'file:///m', NULL, 'TABLE')";
    run(&mut other, "BEGIN").await.unwrap();
    run(&mut other, insert).await.unwrap();
    let delta = NewTableEntry { format: TableFormat::Delta, ..iceberg("t") };
    let creating = backend.create_table(&delta);
    let (created, committed) = tokio::join!(creating, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        run(&mut other, "COMMIT").await
    });
    committed.unwrap();
    assert!(matches!(created, Err(Error::TableExists(_))), "{created:?}");
    backend.create_table(&NewTableEntry { ident: TableIdent::new("public", "u"), ..delta }).await.unwrap();
    run(&mut other, "UPDATE iceberg_tables SET table_name = 'u' WHERE table_name = 't'").await.unwrap_err();
    run(&mut other, "UPDATE iceberg_tables SET table_name = 'v' WHERE table_name = 't'").await.unwrap();
    let names: Vec<_> = backend.tables("public").await.unwrap().into_iter().map(|t| t.ident.name).collect();
    assert_eq!(names, ["u", "v"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn too_long_values_and_wrong_passwords_are_told() {
    let Some(server) = PostgresServer::shared() else { return };
    let url = server.url(&server.new_database().await);
    let backend = open(&options(&url)).await;
    let comment = "x".repeat(1001);
    let refused = backend.set_namespace_property("public", "comment", Some(&comment)).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(message) if message.contains("so long")), "{refused}");
    let sorted = ["b", "A", "a", "B", "_", "Z", "é"];
    for name in sorted {
        backend.create_table(&iceberg(name)).await.unwrap();
    }
    // By bytes, whatever order the database has.
    let names: Vec<_> = backend.tables("public").await.unwrap().into_iter().map(|t| t.ident.name).collect();
    assert_eq!(names, ["A", "B", "Z", "_", "a", "b", "é"]);

    let nowhere = SqlBackend::open_postgres(&options(&server.url("nowhere")), "file:///w", "lake").await;
    let message = nowhere.unwrap_err().to_string();
    assert!(message.contains("/nowhere does not exist"), "{message}");
}
