//! Manifests whose entries are copied against the same ones decoded and encoded by the crate.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, Manifest,
    ManifestContentType, ManifestFile, ManifestMetadata, ManifestWriterBuilder, Struct, TableMetadata,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fixture::{Fixture, definition, storage};
use crate::format::iceberg::cache::Caches;
use crate::format::iceberg::copied_entries::Copier;
use crate::format::iceberg::manifest_filter::{Goes, Rewritten, rewrite};
use crate::format::iceberg::manifest_header::ManifestHeader;
use crate::format::iceberg::manifest_merge::{merge, origin, with_row_id};
use crate::format::iceberg::manifests::{IcebergFiles, read_manifest};
use crate::format::iceberg::metadata;
use crate::format::iceberg::new_manifest::NewManifest;
use crate::format::iceberg::partition::bind_specs;
use crate::table::Transform;

/// The snapshot that writes the new manifests, and the one that wrote the old ones.
const NEW: i64 = 99;
const OLD: i64 = 7;

struct Manifests {
    fixture: Fixture,
    metadata: TableMetadata,
    random: StdRng,
    count: usize,
    /// Whether some files are said to be encrypted.
    keys: bool,
}

impl Manifests {
    async fn new(version: &str, seed: u64) -> Self {
        let fixture = Fixture::new();
        let partitioning =
            [("name", Transform::Identity), ("score", Transform::Identity), ("ts", Transform::Day)];
        let table = fixture.create(&definition(&partitioning, &[("format-version", version)])).await;
        let metadata = metadata(&table).unwrap().as_ref().clone();
        Self { fixture, metadata, random: StdRng::seed_from_u64(seed), count: 0, keys: true }
    }

    fn path(&mut self, suffix: &str) -> String {
        self.count += 1;
        format!("{}/{}.{suffix}", self.fixture.folder.path().display(), self.count)
    }

    fn data_file(&mut self) -> DataFile {
        let name = ["", "a", "b", "\u{fc}nicode"][self.random.random_range(0..4)];
        let score = [0.0, -1.5, f64::NAN, f64::INFINITY][self.random.random_range(0..4)];
        let day = self.random.random_range(-3..20_000);
        let mut maybe = |value: Literal| self.random.random_bool(0.8).then_some(value);
        let partition =
            [maybe(Literal::string(name)), maybe(Literal::double(score)), maybe(Literal::date(day))];
        let counts: HashMap<i32, u64> =
            (1..=4).map(|id| (id, self.random.random_range(0..100_000))).collect();
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(self.path("parquet"))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter(partition))
            .partition_spec_id(self.metadata.default_partition_spec_id())
            .record_count(self.random.random_range(1..1_000_000))
            .file_size_in_bytes(self.random.random_range(1..1 << 40))
            .first_row_id(self.random.random_bool(0.3).then_some(5));
        if self.random.random_bool(0.7) {
            builder
                .column_sizes(counts.clone())
                .value_counts(counts.clone())
                .null_value_counts(counts)
                .lower_bounds(HashMap::from([(1, Datum::long(-4)), (2, Datum::string(name))]))
                .upper_bounds(HashMap::from([(1, Datum::long(i64::MAX)), (2, Datum::string("z"))]))
                .key_metadata((self.keys && self.random.random_bool(0.1)).then(|| b"key".to_vec()))
                .split_offsets(Some(vec![4, 1 << 33]))
                .sort_order_id(1);
        }
        builder.build().unwrap()
    }

    /// A manifest of added, existing and deleted files, as its manifest list tells of it.
    async fn written(&mut self, files: usize) -> ManifestFile {
        let path = self.path("avro");
        let output = FileIO::new_with_fs().new_output(&path).unwrap();
        let (schema, spec) =
            (self.metadata.current_schema().clone(), self.metadata.default_partition_spec().as_ref().clone());
        let builder = ManifestWriterBuilder::new(output, Some(OLD), schema, spec);
        let mut writer = match self.metadata.format_version() {
            iceberg::spec::FormatVersion::V3 => builder.build_v3_data(),
            _ => builder.build_v2_data(),
        };
        for _ in 0..files {
            let file = self.data_file();
            match self.random.random_range(0..4) {
                0 => writer.add_existing_file(file, 3, self.random.random_range(1..6), Some(2)).unwrap(),
                1 => writer.add_delete_file(file, 4, Some(4)).unwrap(),
                _ => writer.add_file(file, -1).unwrap(),
            }
        }
        let mut written = writer.write_manifest_file().await.unwrap();
        written.sequence_number = 6;
        written.first_row_id = self.random.random_bool(0.5).then_some(1_000);
        written
    }

    fn open(&mut self) -> impl Fn(&ManifestMetadata) -> crate::error::Result<NewManifest> + use<> {
        let (metadata, path) = (self.metadata.clone(), self.path("avro"));
        move |header| {
            let (schema, spec) = (header.schema().clone(), header.partition_spec().clone());
            NewManifest::new(&metadata, NEW, ManifestContentType::Data, schema, spec, path.clone())
        }
    }

    async fn rewritten(&mut self, file: &ManifestFile, goes: Goes<'_>) -> Option<Rewritten> {
        let open = self.open();
        rewrite(&storage(), file, NEW, goes, open).await.unwrap()
    }
}

async fn read(file: &ManifestFile) -> Manifest {
    let stored = std::fs::metadata(&file.manifest_path).unwrap().len();
    assert_eq!(u64::try_from(file.manifest_length).unwrap(), stored);
    read_manifest(&storage(), file).await.unwrap()
}

/// What a manifest list tells of it, but where it is and how long.
fn told(file: &ManifestFile) -> ManifestFile {
    ManifestFile { manifest_path: String::new(), manifest_length: 0, ..file.clone() }
}

fn is_copied(file: &ManifestFile) -> bool {
    let bytes = std::fs::read(&file.manifest_path).unwrap();
    Copier::like(&bytes).unwrap().add(&bytes, file, &HashSet::new(), NEW).is_some()
}

#[tokio::test]
async fn what_is_copied_is_what_the_crate_would_write() {
    for (version, seed) in ["2", "3"].into_iter().flat_map(|version| (0..25).map(move |seed| (version, seed)))
    {
        let mut manifests = Manifests::new(version, seed).await;
        let files = [1, 3, 20, 400][manifests.random.random_range(0..4)];
        let file = manifests.written(files).await;
        assert!(is_copied(&file));
        let before = read(&file).await;
        let live = before.entries().iter().filter(|entry| entry.is_alive()).map(|entry| entry.file_path());
        let gone: HashSet<&str> = live.filter(|_| manifests.random.random_bool(0.1)).collect();

        let copied = manifests.rewritten(&file, Goes::DataFiles(&gone)).await;
        let decoded = manifests.rewritten(&file, Goes::DeleteFiles(&|f| gone.contains(f.file_path()))).await;
        let (Some(copied), Some(decoded)) = (copied, decoded) else {
            assert!(gone.is_empty(), "version {version}, seed {seed}");
            continue;
        };
        assert_eq!(copied.removed, decoded.removed, "version {version}, seed {seed}");
        assert_eq!(copied.removed.len(), gone.len());
        assert_eq!(told(&copied.file), told(&decoded.file), "version {version}, seed {seed}");
        assert_eq!(read(&copied.file).await, read(&decoded.file).await, "version {version}, seed {seed}");
    }
}

#[tokio::test]
async fn merged_manifests_list_every_live_file_once() {
    for (version, seed) in ["2", "3"].into_iter().flat_map(|version| (0..10).map(move |seed| (version, seed)))
    {
        let mut manifests = Manifests::new(version, seed).await;
        let mut files = Vec::new();
        let (decoded, merged) = (manifests.open(), manifests.open());
        for count in [5, 30, 1] {
            files.push(manifests.written(count).await);
        }
        let mut expected = None;
        for file in &files {
            let manifest = read(file).await;
            let new = match &mut expected {
                Some(new) => new,
                none => none.insert(decoded(manifest.metadata()).unwrap()),
            };
            let mut next_row_id = file.first_row_id.map(|id| i64::try_from(id).unwrap());
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let data = with_row_id(file, entry.data_file(), &mut next_row_id).unwrap();
                new.keep(data, origin(file, entry).unwrap()).unwrap();
            }
        }
        let expected = expected.unwrap().write(&storage()).await.unwrap();
        let header = read(&expected).await;
        let header = header.metadata();
        let types = header.partition_spec().partition_type(header.schema()).unwrap();
        let types: Vec<_> = types.fields().iter().map(|field| field.field_type.as_ref().clone()).collect();
        let files: Vec<&ManifestFile> = files.iter().collect();
        let merged = merge(&storage(), &files, &types, || merged(header)).await.unwrap();
        assert_eq!(told(&merged), told(&expected), "version {version}, seed {seed}");
        assert_eq!(read(&merged).await, read(&expected).await, "version {version}, seed {seed}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_not_copied() {
    let mut manifests = Manifests::new("3", 1).await;
    let file = manifests.written(4).await;
    let whole = std::fs::read(&file.manifest_path).unwrap();
    let header = whole.len() - ManifestHeader::parse(&whole).unwrap().rest.len();
    for end in 0..whole.len() {
        let cut = &whole[..end];
        let copied = Copier::like(cut).and_then(|mut copier| copier.add(cut, &file, &HashSet::new(), NEW));
        // A header and its marker are a manifest without entries.
        assert_eq!(copied.is_some(), end == header + 16, "cut at {end} of {}", whole.len());
    }
}

#[tokio::test]
async fn what_is_kept_in_memory_is_what_would_be_read() {
    for (version, seed) in ["2", "3"].into_iter().flat_map(|version| (0..10).map(move |seed| (version, seed)))
    {
        let mut manifests = Manifests::new(version, seed).await;
        manifests.keys = false;
        let file =
            ManifestFile { first_row_id: (version == "3").then_some(8), ..manifests.written(30).await };
        let files = || {
            let specs = bind_specs(&manifests.metadata).unwrap();
            let specs = specs.into_iter().map(|bound| (bound.spec.spec_id, bound)).collect();
            let version = manifests.metadata.format_version();
            IcebergFiles::new(Some(storage()), Arc::new(Caches::default()), specs, version, None)
        };
        let (here, elsewhere) = (files(), files());
        let list = here.data_manifest(&file).await.unwrap().list.clone();
        let gone: HashSet<&str> = list.files.iter().step_by(3).map(|file| file.path.as_str()).collect();
        let new = manifests.rewritten(&file, Goes::DataFiles(&gone)).await.unwrap().file;
        here.keep_without(&file, &new, &gone).await.unwrap();
        let read = elsewhere.data_manifest(&new).await.unwrap().list.clone();
        std::fs::remove_file(&new.manifest_path).unwrap();
        let kept = here.data_manifest(&new).await.unwrap().list.clone();
        assert_eq!(format!("{:?}", kept.files), format!("{:?}", read.files));
        let (kept, read) = (&kept.stats, &read.stats);
        assert_eq!((kept.len, &kept.row_counts), (read.len, &read.row_counts));
        assert_eq!(kept.columns.len(), read.columns.len());
        for (id, kept) in &kept.columns {
            let read = &read.columns[id];
            assert_eq!((&kept.lower, &kept.upper), (&read.lower, &read.upper));
            assert_eq!((&kept.null_count, &kept.nan_count), (&read.null_count, &read.nan_count));
            assert_eq!(kept.exact, read.exact);
        }
        for (kept, read) in kept.partitions.iter().zip(&read.partitions) {
            assert_eq!((&kept.lower, &kept.upper), (&read.lower, &read.upper));
            assert_eq!(kept.may_contain_null, read.may_contain_null);
        }
    }
}
