//! What a user sets about object stores. Secrets never show in `Debug`.

use std::collections::BTreeMap;
use std::fmt;

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: only to be handed to the client that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How the buckets of S3, or of something that speaks its protocol, are reached. What is unset is
/// taken from the environment (`AWS_…`), then from the instance or container the server runs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Options {
    /// `http://localhost:9000`, say; unset: Amazon's own.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
    /// Allow an endpoint without TLS. Default: for an own endpoint that begins with `http://`.
    pub allow_http: Option<bool>,
    /// Bucket in the path rather than in the host name. Default: for an own endpoint.
    pub path_style: Option<bool>,
    /// Do not sign requests (public buckets).
    pub anonymous: bool,
    /// Do not look at `AWS_…` environment variables.
    pub ignore_environment: bool,
}

/// Settings of all object stores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageOptions {
    /// For buckets without settings of their own.
    pub s3: S3Options,
    /// By bucket name; replaces `s3` as a whole.
    pub s3_buckets: BTreeMap<String, S3Options>,
}

impl StorageOptions {
    /// Settings of a bucket.
    pub fn s3_for(&self, bucket: &str) -> &S3Options {
        self.s3_buckets.get(bucket).unwrap_or(&self.s3)
    }
}
