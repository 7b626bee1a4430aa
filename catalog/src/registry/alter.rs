//! How tables are altered.

use super::Table;
use crate::error::Result;
use crate::table::{Alteration, Operation, ReadSet, TableChange};

impl Table {
    /// Commits an alteration of the table as it was read: rows that were added meanwhile conflict with a
    /// new constraint.
    ///
    /// Fails as [`commit::commit`](crate::commit::commit) does; with `Unsupported` where the format has no
    /// such thing.
    pub async fn alter(&self, alteration: Alteration) -> Result<()> {
        crate::commit::commit(self, alteration.into_change()).await?;
        self.catalog.contents_changed();
        Ok(())
    }
}

impl Alteration {
    /// The change that makes it.
    pub(crate) fn into_change(self) -> TableChange {
        let read = match self {
            Self::AddConstraint(_) | Self::RestartIdentity => ReadSet::Filters(Vec::new()),
            Self::DropConstraint(_) | Self::AddColumns(_) | Self::Comments(_) | Self::Properties(_) => {
                ReadSet::Nothing
            }
        };
        TableChange { alterations: vec![self], read, ..TableChange::new(Operation::Alter, Vec::new()) }
    }
}
