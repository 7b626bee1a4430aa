//! What a catalog keeps beside its tables and views: small texts under a name, and a bounded journal of
//! what happened. Whoever keeps them knows what they say; the catalog does not.

use crate::TableIdent;

/// What a document is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// What it is: documents of different kinds may have the same name.
    pub kind: String,
    pub ident: TableIdent,
}

/// The kind of those that define something in a namespace, which is not empty as long as they are there.
pub const TASK: &str = "task";

impl DocumentKey {
    pub fn new(kind: &str, ident: TableIdent) -> Self {
        Self { kind: kind.to_string(), ident }
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub key: DocumentKey,
    pub text: String,
}

/// A replacement of a document, if it is what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentChange {
    pub key: DocumentKey,
    /// `None`: there is none.
    pub expected: Option<String>,
    /// `None`: there is none any more.
    pub new: Option<String>,
}

/// Something that happened to what a document's key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub key: DocumentKey,
    /// Tells it from all others under the key: the same once more replaces it.
    pub id: String,
    /// Milliseconds since the epoch.
    pub at: i64,
    pub text: String,
}
