//! `ALTER TABLE`: protocol and metadata of the next version.

use super::action::{Metadata, Protocol};
use super::properties;
use super::writable::constraint_key;
use crate::error::{Error, Result};
use crate::table::Alteration;

/// First writer version that stands for CHECK constraints (Delta protocol, "CHECK Constraints").
const CONSTRAINTS_WRITER: i32 = 3;

/// The table's metadata, altered. Fails with `Invalid` if somebody else was faster and nothing is left
/// to be done, or to be done it to.
pub(super) fn metadata(table: &str, metadata: &Metadata, alteration: &Alteration) -> Result<Metadata> {
    let mut altered = metadata.clone();
    match alteration {
        Alteration::AddConstraint(constraint) => {
            let key = constraint_key(&constraint.name);
            if altered.configuration.keys().any(|taken| taken.eq_ignore_ascii_case(&key)) {
                let message = format!("{table} has a check constraint \"{}\" already", constraint.name);
                return Err(Error::Invalid(message));
            }
            altered.configuration.insert(key, constraint.expression.clone());
        }
        Alteration::DropConstraint(name) => {
            if altered.configuration.remove(&constraint_key(name)).is_none() {
                return Err(Error::Invalid(format!("{table} has no check constraint \"{name}\"")));
            }
        }
    }
    Ok(altered)
}

/// The table's protocol, if it has to be raised.
pub(super) fn protocol(protocol: &Protocol, alteration: &Alteration) -> Option<Protocol> {
    match alteration {
        Alteration::DropConstraint(_) => None,
        Alteration::AddConstraint(_) if protocol.writer_features.is_some() => {
            properties::with_feature(protocol, properties::CHECK_CONSTRAINTS)
        }
        Alteration::AddConstraint(_) => (protocol.min_writer_version < CONSTRAINTS_WRITER)
            .then(|| Protocol { min_writer_version: CONSTRAINTS_WRITER, ..protocol.clone() }),
    }
}
