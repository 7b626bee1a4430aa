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
        let read = match alteration {
            Alteration::AddConstraint(_) => ReadSet::Filters(Vec::new()),
            Alteration::DropConstraint(_) | Alteration::Comments(_) | Alteration::Properties(_) => {
                ReadSet::Nothing
            }
        };
        let change = TableChange {
            alteration: Some(alteration),
            read,
            ..TableChange::new(Operation::Alter, Vec::new())
        };
        crate::commit::commit(self, change).await?;
        self.catalog.contents_changed();
        Ok(())
    }
}
