//! Several changes in one step.

use super::*;
use crate::backend::change::{ApplyOutcome, Entry, EntryChange};

fn delta(namespace: &str, name: &str) -> NewTableEntry {
    NewTableEntry {
        ident: TableIdent::new(namespace, name),
        format: TableFormat::Delta,
        pointer: format!("file:///d/{name}"),
        external: true,
    }
}

/// Names of everything with their pointers and OIDs.
async fn everything(backend: &dyn Backend) -> Vec<(String, String, Oid)> {
    let mut found = Vec::new();
    for namespace in backend.namespaces().await.unwrap().iter() {
        let tables = backend.tables(&namespace.name).await.unwrap();
        found.extend(tables.into_iter().map(|e| (e.ident.to_string(), e.pointer, e.oid)));
        let views = backend.views(&namespace.name).await.unwrap();
        found.extend(views.into_iter().map(|e| (e.ident.to_string(), e.pointer, e.oid)));
    }
    found.sort();
    found
}

pub(super) async fn several_changes_are_made_at_once_or_not_at_all(fixture: Fixture) {
    let backend = fixture.open().await;
    let backend = &*backend;
    if !backend.is_transactional() {
        assert!(matches!(backend.apply(&[]).await, Err(Error::Unsupported { .. })));
        return;
    }
    let ident = |name: &str| TableIdent::new("public", name);
    let iceberg = |name: &str| NewTableEntry {
        format: TableFormat::Iceberg,
        pointer: format!("{name}-1"),
        external: false,
        ..delta("public", name)
    };
    for entry in [iceberg("a"), iceberg("b"), delta("public", "d"), iceberg("gone")] {
        backend.create_table(&entry).await.unwrap();
    }
    backend.create_view(&ident("v"), "v-1").await.unwrap();
    let before = everything(backend).await;
    let oid = |name: &str| {
        let name = format!("public.{name}");
        before.iter().find(|(found, ..)| *found == name).map(|(.., oid)| *oid).unwrap()
    };
    let rename =
        |from: &str, to: &str| EntryChange::Rename { from: ident(from), to: ident(to), oid: oid(from) };
    let swap = |name: &str, expected: &str| EntryChange::Swap {
        ident: ident(name),
        expected: expected.to_string(),
        new: format!("{name}-2"),
    };
    let new = backend.reserve_oid(&ident("new")).await.unwrap();
    let space = backend.reserve_oid(&ident("")).await.unwrap();
    assert!(new > oid("v") && space > new);
    let entry = |namespace: &str, name: &str| TableEntry {
        ident: TableIdent::new(namespace, name),
        format: TableFormat::Delta,
        pointer: "file:///new".into(),
        external: true,
        oid: new,
    };
    let changes = vec![
        // Across formats, in a circle; one of them in another version.
        rename("a", "d"),
        rename("d", "b"),
        rename("b", "a"),
        swap("a", "a-1"),
        rename("v", "w"),
        swap("v", "v-1"),
        EntryChange::Insert(Entry::Table(entry("s", "gone"))),
        EntryChange::Drop { ident: ident("gone"), oid: oid("gone") },
        EntryChange::CreateNamespace(NamespaceEntry {
            name: "s".into(),
            oid: space,
            properties: [("comment".to_string(), "new".to_string())].into(),
        }),
    ];

    // Each of them can be the one that does not find what it expects.
    let mut stale = vec![
        (swap("a", "a-0"), None),
        (EntryChange::Drop { ident: ident("gone"), oid: oid("a") }, None),
        (EntryChange::Rename { from: ident("a"), to: ident("x"), oid: oid("b") }, None),
        (EntryChange::DropNamespace { name: "nowhere".into() }, None),
        (EntryChange::Insert(Entry::Table(entry("public", "d"))), Some("already exists")),
        (EntryChange::Insert(Entry::Table(entry("nowhere", "x"))), Some("does not exist")),
        (EntryChange::DropNamespace { name: "public".into() }, Some("not empty")),
    ];
    for (change, error) in stale.drain(..) {
        let mut all = changes.clone();
        // What takes the first one's place must not be two changes of one table.
        all.retain(|other| other.name() != change.name() || matches!(change, EntryChange::Insert(_)));
        all.push(change);
        match (backend.apply(&all).await, error) {
            (Ok(ApplyOutcome::Lost(number)), None) => assert_eq!(number, all.len() - 1),
            (Err(e), Some(text)) => assert!(e.to_string().contains(text), "{e}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(everything(backend).await, before);
    }

    assert!(matches!(backend.apply(&changes).await.unwrap(), ApplyOutcome::Applied));
    let row = |name: &str, pointer: &str, oid| (name.to_string(), pointer.to_string(), oid);
    let mut expected = vec![
        row("public.d", "a-2", oid("a")),
        row("public.b", "file:///d/d", oid("d")),
        row("public.a", "b-1", oid("b")),
        row("public.w", "v-2", oid("v")),
        row("s.gone", "file:///new", new),
    ];
    expected.sort();
    assert_eq!(everything(backend).await, expected);
    // The external marks went with their tables.
    assert!(backend.table(&ident("b")).await.unwrap().unwrap().external);
    assert!(!backend.table(&ident("d")).await.unwrap().unwrap().external);
    let namespaces = backend.namespaces().await.unwrap();
    let made = namespaces.iter().find(|namespace| namespace.name == "s").unwrap();
    assert_eq!((made.oid, made.properties["comment"].as_str()), (space, "new"));

    // A namespace that goes with all that was in it, and comes back.
    let again = backend.reserve_oid(&ident("")).await.unwrap();
    let replaced = NamespaceEntry { name: "s".into(), oid: again, properties: BTreeMap::new() };
    let changes = [
        EntryChange::ReplaceNamespace(replaced),
        EntryChange::Drop { ident: TableIdent::new("s", "gone"), oid: new },
        EntryChange::SetNamespaceProperty {
            name: "public".into(),
            key: "comment".into(),
            value: Some("p".into()),
        },
    ];
    assert!(matches!(backend.apply(&changes).await.unwrap(), ApplyOutcome::Applied));
    let namespaces = backend.namespaces().await.unwrap();
    let found: Vec<_> = namespaces.iter().map(|n| (n.name.as_str(), n.properties.len())).collect();
    assert_eq!(found, [("public", 1), ("s", 0)]);
    assert_eq!(namespaces[1].oid, again);
}

/// Each change moves two tables on by one, from four openers at once: the tables stay in step, and no
/// step is lost.
pub(super) async fn changes_of_many_servers_do_not_mix(fixture: Fixture) {
    const STEPS: usize = 10;
    let first = fixture.open().await;
    if !first.is_transactional() {
        return;
    }
    let idents = ["a", "b"].map(|name| TableIdent::new("public", name));
    for ident in &idents {
        let new = NewTableEntry {
            ident: ident.clone(),
            format: TableFormat::Iceberg,
            pointer: "0".into(),
            external: false,
        };
        first.create_table(&new).await.unwrap();
    }
    let mut servers = Vec::new();
    for server in 0..4 {
        let backend = fixture.open().await;
        // Half of them in the other order.
        let mut idents = idents.to_vec();
        idents.rotate_left(server % 2);
        servers.push(tokio::spawn(async move {
            let mut done = 0;
            while done < STEPS {
                let mut changes = Vec::new();
                for ident in &idents {
                    let expected = backend.table(ident).await.unwrap().unwrap().pointer;
                    let new = (expected.parse::<usize>().unwrap() + 1).to_string();
                    changes.push(EntryChange::Swap { ident: ident.clone(), expected, new });
                }
                match backend.apply(&changes).await.unwrap() {
                    ApplyOutcome::Applied => done += 1,
                    ApplyOutcome::Lost(_) => {}
                    ApplyOutcome::Unknown(e) => panic!("{e}"),
                }
            }
        }));
    }
    for server in servers {
        server.await.unwrap();
    }
    for ident in &idents {
        assert_eq!(first.table(ident).await.unwrap().unwrap().pointer, (4 * STEPS).to_string());
    }
}
