//! Lists of files that go on from those of earlier versions, against lists read from whole logs.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::logged::LoggedAdds;
use super::*;

/// What a list says of each file, by the file's path and deletion vector.
fn told(list: &FileList) -> BTreeMap<String, String> {
    let FileList { files, stats, .. } = list;
    let logged = LoggedAdds::of(list).unwrap();
    assert_eq!((files.len(), stats.row_counts.len()), (stats.len, stats.len));
    let said = |row: usize| {
        let mut columns: Vec<_> = stats.columns.iter().collect();
        columns.sort_by_key(|(id, _)| **id);
        let at = |values: &dyn Array| ScalarValue::try_from_array(values, row).unwrap();
        let columns = columns.iter().map(|(id, column)| {
            let nan_count = column.nan_count.as_ref().map(|count| at(count));
            (*id, at(&column.lower), at(&column.upper), at(&column.null_count), nan_count, column.exact)
        });
        let partitions = stats.partitions.iter();
        let partitions = partitions.map(|p| (at(&p.lower), at(&p.upper), p.may_contain_null[row]));
        let (file, add) = (&files[row], logged.get("t", row).unwrap());
        assert_eq!(at(&stats.row_counts), ScalarValue::UInt64(file.record_count));
        let all = (file, &add, columns.collect::<Vec<_>>(), partitions.collect::<Vec<_>>());
        (format!("{} {:?}", file.path, add.deletion_vector), format!("{all:?}"))
    };
    let told: BTreeMap<_, _> = (0..stats.len).map(said).collect();
    assert_eq!(told.len(), stats.len, "a file is in the list twice");
    told
}

/// A table of partitioned files with statistics and deletion vectors, changed at random.
struct Changing {
    random: StdRng,
    /// Paths, and the number of the vector.
    live: Vec<(String, Option<u64>)>,
    next: u64,
}

impl Changing {
    fn action(&self, kind: &str, path: &str, vector: Option<u64>) -> Value {
        let number: i64 = path.trim_start_matches("p=a%20b/f").parse().unwrap_or(0);
        let partition =
            json!({"p": if number % 3 == 0 { Value::Null } else { json!(format!("v{}", number % 5)) }});
        let stats = match number % 4 {
            0 => Value::Null,
            _ => {
                json!({"numRecords": 100 + number, "minValues": {"id": number, "name": format!("a long name of the file {number}")},
                "maxValues": {"id": number + 7}, "nullCount": {"id": number % 2, "name": 1}})
            }
        };
        let mut action = add(path, partition, stats);
        if let Some(vector) = vector {
            let inner = json!({"storageType": "p", "pathOrInlineDv": format!("file:///v{vector}.bin"), "offset": vector, "sizeInBytes": 34, "cardinality": 2});
            action["add"]["deletionVector"] = inner;
        }
        match kind {
            "add" => action,
            _ => json!({"remove": {"path": path, "dataChange": true, "deletionTimestamp": 1,
                "deletionVector": action["add"]["deletionVector"]}}),
        }
    }

    fn commit(&mut self) -> Vec<Value> {
        let mut actions = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            self.next += 1;
            let path = format!("p=a%20b/f{}", self.next);
            actions.push(self.action("add", &path, None));
            self.live.push((path, None));
        }
        for _ in 0..self.random.random_range(0..3) {
            // The last ones may be of this commit, which names no file twice.
            let Some(others) = self.live.len().checked_sub(6).filter(|others| *others > 0) else { break };
            let (path, vector) = self.live.remove(self.random.random_range(0..others));
            match self.random.random_range(0..4) {
                // Rows of it are deleted.
                0 | 1 => {
                    self.next += 1;
                    actions.push(self.action("remove", &path, vector));
                    actions.push(self.action("add", &path, Some(self.next)));
                    self.live.push((path, Some(self.next)));
                }
                // Something about it is written anew.
                2 => {
                    let mut again = self.action("add", &path, vector);
                    again["add"]["tags"] = json!({"again": self.next.to_string()});
                    actions.push(again);
                    self.live.push((path, vector));
                }
                _ => actions.push(self.action("remove", &path, vector)),
            }
        }
        actions
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_go_on_are_those_of_the_whole_log() {
    for seed in 1..=12 {
        let bench = Bench::new();
        let mut changing = Changing { random: StdRng::seed_from_u64(seed), live: Vec::new(), next: 0 };
        let columns = json!([column("id", "long"), column("name", "string"), column("p", "string")]);
        let mut first =
            vec![protocol(&["deletionVectors"], &["deletionVectors"]), metadata(columns, &["p"], json!({}))];
        first.extend((0..20).map(|n| {
            changing.live.push((format!("p=a%20b/f{n}"), None));
            changing.action("add", &format!("p=a%20b/f{n}"), None)
        }));
        changing.next = 20;
        bench.write(0, &first);
        bench.files().await;
        let mut version = 0;
        for _ in 0..30 {
            // Some versions are never looked at, some snapshots never asked for their files.
            for _ in 0..changing.random.random_range(1..4) {
                version += 1;
                let actions = changing.commit();
                bench.write(version, &actions);
            }
            let snapshot = bench.load().await.unwrap();
            if changing.random.random_bool(0.3) {
                continue;
            }
            let went_on = snapshot.files.file_list(0).await.unwrap();
            let anew = DeltaFormat::default().load(&bench.storage, &bench.entry()).await.unwrap();
            let anew = anew.files.file_list(0).await.unwrap();
            assert_eq!(told(&went_on), told(&anew), "seed {seed}, version {version}");
            assert_eq!(went_on.files.len(), changing.live.len(), "seed {seed}, version {version}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_said_before_is_not_read_again() {
    let bench = Bench::new();
    bench.write(
        0,
        &[
            protocol(&[], &[]),
            metadata(json!([column("id", "long")]), &[], json!({})),
            add("one", json!({}), Value::Null),
        ],
    );
    assert_eq!(bench.files().await.files.len(), 1);
    bench.write(1, &[add("two", json!({}), Value::Null)]);
    // Nobody asks for the files of this version.
    bench.load().await.unwrap();
    std::fs::write(bench.log().join(format!("{:020}.json", 0)), "no log").unwrap();
    bench.write(2, &[add("three", json!({}), Value::Null)]);
    assert_eq!(bench.files().await.files.len(), 3);
    // Other columns: what the statistics mean has to be found out anew.
    bench.write(3, &[metadata(json!([column("id", "long"), column("more", "long")]), &[], json!({}))]);
    bench.fails().await;
}
