//! Changes of a catalog's entries that are made together, or not at all.

use std::error::Error as StdError;

use super::document::DocumentChange;
use super::{NamespaceEntry, Oid, TableEntry, ViewEntry};
use crate::TableIdent;

/// What a name of a catalog means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Table(TableEntry),
    View(ViewEntry),
}

impl Entry {
    pub fn ident(&self) -> &TableIdent {
        match self {
            Self::Table(entry) => &entry.ident,
            Self::View(entry) => &entry.ident,
        }
    }

    pub fn oid(&self) -> Oid {
        match self {
            Self::Table(entry) => entry.oid,
            Self::View(entry) => entry.oid,
        }
    }

    pub fn pointer(&self) -> &str {
        match self {
            Self::Table(entry) => &entry.pointer,
            Self::View(entry) => &entry.pointer,
        }
    }

    /// The same under another name.
    pub fn renamed(self, ident: TableIdent) -> Self {
        match self {
            Self::Table(entry) => Self::Table(TableEntry { ident, ..entry }),
            Self::View(entry) => Self::View(ViewEntry { ident, ..entry }),
        }
    }

    /// The same in another version.
    pub fn pointing_to(self, pointer: String) -> Self {
        match self {
            Self::Table(entry) => Self::Table(TableEntry { pointer, ..entry }),
            Self::View(entry) => Self::View(ViewEntry { pointer, ..entry }),
        }
    }
}

/// One of the changes. Tables and views are told by the names that they had before all of them; a name
/// that one change takes away is free for the others, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryChange {
    /// The compare-and-swap of an Iceberg table's or a view's pointer.
    Swap {
        ident: TableIdent,
        expected: String,
        new: String,
    },
    Drop {
        ident: TableIdent,
        oid: Oid,
    },
    Rename {
        from: TableIdent,
        to: TableIdent,
        oid: Oid,
    },
    /// A new table or view, with the OID that was [reserved](super::Backend::reserve_oid) for it.
    Insert(Entry),
    CreateNamespace(NamespaceEntry),
    /// The namespace was dropped and made again.
    ReplaceNamespace(NamespaceEntry),
    SetNamespaceProperty {
        name: String,
        key: String,
        value: Option<String>,
    },
    DropNamespace {
        name: String,
    },
    Document(DocumentChange),
}

impl EntryChange {
    /// What it is a change of, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::Swap { ident, .. } | Self::Drop { ident, .. } | Self::Rename { from: ident, .. } => {
                ident.to_string()
            }
            Self::Insert(entry) => entry.ident().to_string(),
            Self::Document(change) => change.key.ident.to_string(),
            Self::CreateNamespace(entry) | Self::ReplaceNamespace(entry) => entry.name.clone(),
            Self::SetNamespaceProperty { name, .. } | Self::DropNamespace { name } => name.clone(),
        }
    }
}

/// How the attempt to make several changes ended.
#[derive(Debug)]
pub enum ApplyOutcome {
    Applied,
    /// The change of this number found something else than it expected; none of them is made.
    Lost(usize),
    /// The connection broke meanwhile.
    Unknown(Box<dyn StdError + Send + Sync>),
}
