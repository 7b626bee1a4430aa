use super::*;

#[test]
fn locations_are_raw_and_urls_are_encoded() {
    for (location, url) in [
        ("/tmp/a b", "file:///tmp/a%20b"),
        ("file:/tmp/x", "file:///tmp/x"),
        ("file:///tmp//x/./y/", "file:///tmp/x/y/"),
        ("file:///data/city=S%C3%A3o", "file:///data/city=S%25C3%25A3o"),
        ("file:///data/a#b?c", "file:///data/a%23b%3Fc"),
        ("s3a://bucket/key", "s3://bucket/key"),
        ("s3://bucket", "s3://bucket/"),
        ("/tmp/é", "file:///tmp/%C3%A9"),
    ] {
        assert_eq!(to_url(location).unwrap().as_str(), url, "{location}");
    }
    for location in ["relative/path", "", "file://host/x", "/tmp/../etc", "://x"] {
        assert!(matches!(to_url(location), Err(Error::Invalid(_))), "{location}");
    }
    let url = Url::parse("s3://bucket/a%20b/c%2541/").unwrap();
    assert_eq!(from_url(&url).unwrap(), "s3://bucket/a b/c%41");
    assert_eq!(from_url(&to_url("/tmp/a b%20").unwrap()).unwrap(), "file:///tmp/a b%20");
}

#[tokio::test]
async fn files_with_odd_names_are_where_other_programs_put_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let storage = Storage::with_options(StorageOptions::default());
    for name in ["plain", "a b", "S%C3%A3o", "é", "x#y?z", "q\"uote", "city=New+York"] {
        let location = format!("{root}/{name}/f");
        assert!(storage.create(&location, Bytes::from_static(b"x")).await.unwrap());
        assert!(!storage.create(&location, Bytes::from_static(b"y")).await.unwrap());
        assert_eq!(std::fs::read(&location).unwrap(), b"x");
        assert_eq!(storage.read(&location).await.unwrap(), Bytes::from_static(b"x"));
        assert!(storage.exists(&location).await.unwrap());
    }
    let listed = storage.directory(root).await.unwrap();
    assert_eq!(listed.directories.len(), 7);
    assert!(listed.directories.contains(&"S%C3%A3o".to_string()));
    assert_eq!(storage.delete_all(root).await.unwrap(), 7);
    assert!(!storage.has_files(root).await.unwrap());
    assert_eq!(storage.directory(root).await.unwrap(), Directory::default());
}

#[tokio::test]
async fn a_repeated_request_finds_its_own_file() {
    let dir = tempfile::tempdir().unwrap();
    let location = format!("{}/f", dir.path().to_str().unwrap());
    let storage = Storage::with_options(StorageOptions::default());
    let own = Bytes::from_static(b"x");
    storage.create_own(&location, own.clone()).await.unwrap();
    storage.create_own(&location, own.clone()).await.unwrap();
    let other = storage.create_own(&location, Bytes::from_static(b"y")).await;
    assert!(matches!(other, Err(Error::Internal(_))), "{other:?}");
    assert_eq!(storage.read(&location).await.unwrap(), own);
}

#[test]
fn unknown_stores_are_refused_and_secrets_hidden() {
    let storage = Storage::with_options(StorageOptions::default());
    for location in ["gs://b/x", "az://c/x", "abfss://c@a/x", "hdfs://n/x"] {
        assert!(matches!(storage.locate(location), Err(Error::Unsupported { .. })), "{location}");
    }
    let options = S3Options {
        endpoint: Some("http://127.0.0.1:1".into()),
        region: Some("us-east-1".into()),
        access_key_id: Some("key".into()),
        secret_access_key: Some(Secret::new("hush")),
        allow_http: Some(true),
        ignore_environment: true,
        ..Default::default()
    };
    let options = StorageOptions { s3: options, ..Default::default() };
    assert!(!format!("{options:?}").contains("hush"));
    let storage = Storage::with_options(options);
    let at = storage.locate("s3://bucket/a/b").unwrap();
    assert_eq!((at.path.as_ref(), at.store_url.as_str()), ("a/b", "s3://bucket/"));
    assert!(!format!("{:?}", at.store).contains("hush"));
}

#[tokio::test]
async fn errors_name_the_location() {
    let storage = Storage::with_options(StorageOptions::default());
    let error = storage.read("/nonexistent/file").await.unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains("/nonexistent/file"), "{error}");
}

#[tokio::test]
async fn s3_refuses_to_overwrite() {
    let Some(s3) = crate::backend::python::s3("bucket") else { return };
    let bucket = "bucket".to_string();
    let options = S3Options {
        endpoint: Some(s3.endpoint.clone()),
        region: Some("us-east-1".into()),
        access_key_id: Some("test".into()),
        secret_access_key: Some(Secret::new("test")),
        ignore_environment: true,
        ..Default::default()
    };
    let buckets = [(bucket.clone(), options)].into();
    let storage = Storage::with_options(StorageOptions { s3_buckets: buckets, ..Default::default() });
    let root = format!("s3a://{bucket}/root-{}", uuid::Uuid::new_v4());
    for name in ["plain", "a b", "S%C3%A3o", "é"] {
        let location = format!("{root}/{name}/f");
        assert!(storage.create(&location, Bytes::from_static(b"x")).await.unwrap());
        assert!(!storage.create(&location, Bytes::from_static(b"y")).await.unwrap());
        assert_eq!(storage.read(&location).await.unwrap(), Bytes::from_static(b"x"));
    }
    let names = storage.directory(&root).await.unwrap().directories;
    assert_eq!(names, ["S%C3%A3o", "a b", "plain", "é"]);
    assert!(!storage.exists(&format!("{root}/a%20b/f")).await.unwrap());
    assert_eq!(storage.delete_all(&root).await.unwrap(), 4);
    assert!(!storage.has_files(&root).await.unwrap());
}
