//! Earlier versions: by number, by time, and the history.

use std::time::{Duration, SystemTime};

use super::*;
use crate::format::VersionSpec;

impl Bench {
    async fn at(&self, version: VersionSpec) -> Result<Arc<TableSnapshot>> {
        self.format.load_at(&self.storage, &self.entry(), &version).await
    }

    async fn number_at(&self, timestamp: i64) -> Option<u64> {
        match self.at(VersionSpec::Timestamp(timestamp)).await {
            Ok(snapshot) => match snapshot.version {
                TableVersion::Delta { version } => Some(version),
                _ => panic!(),
            },
            Err(Error::VersionNotFound { .. }) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Dates a commit file, in seconds since the epoch.
    fn date(&self, version: u64, seconds: u64) {
        let file = std::fs::File::options().write(true).open(self.log().join(format!("{version:020}.json")));
        file.unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_versions_stay_what_they_were() {
    let bench = Bench::new();
    create(&bench, &[("delta.checkpointInterval", "2")]).await;
    for name in ["b", "c", "d"] {
        let base = bench.load().await.unwrap();
        append(&bench, &base, name).await.unwrap();
    }
    for version in [0, 1, 2, 3] {
        let snapshot = bench.at(VersionSpec::Id(version)).await.unwrap();
        assert_eq!(snapshot.version, TableVersion::Delta { version: version as u64 });
        assert_eq!(snapshot.files.file_list(0).await.unwrap().files.len(), version as usize + 1);
        assert!(Arc::ptr_eq(&snapshot, &bench.at(VersionSpec::Id(version)).await.unwrap()), "kept");
    }
    for missing in [VersionSpec::Id(4), VersionSpec::Id(-1), VersionSpec::Ref("main".into())] {
        assert!(matches!(bench.at(missing).await, Err(Error::VersionNotFound { .. })));
    }
    // What cleaning up behind a checkpoint takes away.
    for version in [0, 1] {
        std::fs::remove_file(bench.log().join(format!("{version:020}.json"))).unwrap();
    }
    assert!(matches!(bench.at(VersionSpec::Id(1)).await, Err(Error::VersionNotFound { .. })));
    bench.at(VersionSpec::Id(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn times_mean_the_last_version_before_them() {
    let bench = Bench::new();
    create(&bench, &[]).await;
    for name in ["b", "c", "d"] {
        let base = bench.load().await.unwrap();
        append(&bench, &base, name).await.unwrap();
    }
    // The clock went back between versions 1 and 2.
    for (version, seconds) in [(0, 1000), (1, 2000), (2, 1500), (3, 3000)] {
        bench.date(version, seconds);
    }
    for (timestamp, expected) in [
        (999_999, None),
        (1_000_000, Some(0)),
        (1_999_999, Some(0)),
        (2_000_000, Some(1)),
        (2_000_001, Some(2)),
        (2_999_999, Some(2)),
        (3_000_000, Some(3)),
        (9_000_000, Some(3)),
    ] {
        assert_eq!(bench.number_at(timestamp).await, expected, "{timestamp}");
    }
    let history = bench.format.history(&bench.storage, &bench.entry()).await.unwrap();
    let times: Vec<i64> = history.iter().map(|version| version.committed_at).collect();
    assert_eq!(times, [1_000_000, 2_000_000, 2_000_001, 3_000_000]);
    assert_eq!(
        history.iter().map(|version| version.parent_id).collect::<Vec<_>>(),
        [None, Some(0), Some(1), Some(2)]
    );
    assert_eq!(history[0].operation.as_deref(), Some("CREATE TABLE AS SELECT"));
    assert_eq!(history[3].operation.as_deref(), Some("WRITE"));
    assert_eq!(history[3].summary["readVersion"], "2");
    assert_eq!(history[3].summary["auric.query"], "7");
    let metrics: Value = serde_json::from_str(&history[3].summary["operationMetrics"]).unwrap();
    assert_eq!(metrics["numOutputRows"], "5");
    assert!(history[3].location.as_deref().unwrap().ends_with("/_delta_log/00000000000000000003.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_timestamps_go_before_file_times() {
    let bench = Bench::new();
    create(&bench, &[("delta.enableInCommitTimestamps", "true")]).await;
    let base = bench.load().await.unwrap();
    append(&bench, &base, "b").await.unwrap();
    let base = bench.load().await.unwrap();
    append(&bench, &base, "c").await.unwrap();
    for version in 0..=2 {
        bench.date(version, 1000);
    }
    let history = bench.format.history(&bench.storage, &bench.entry()).await.unwrap();
    let times: Vec<i64> = history.iter().map(|version| version.committed_at).collect();
    for (version, time) in times.iter().enumerate() {
        assert_eq!(actions(&bench, version as u64)[0]["commitInfo"]["inCommitTimestamp"], *time);
        assert_eq!(bench.number_at(*time).await, Some(version as u64));
    }
    assert_eq!(bench.number_at(times[0] - 1).await, None);
    assert_eq!(bench.at(VersionSpec::Id(1)).await.unwrap().timestamp_ms, Some(times[1]));
}
