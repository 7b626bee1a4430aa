//! SHOW.

use super::{CommandTag, Output, OutputColumn, rows};
use crate::error::{Error, Result};
use crate::parser::statement::Show;
use crate::session::Session;
use crate::session::settings::SettingsError;
use crate::session::vars;

pub fn columns(session: &Session, show: &Show) -> Result<Vec<OutputColumn>> {
    match show {
        Show::All => Ok(["name", "setting", "description"].map(rows::text_column).to_vec()),
        Show::Variable(name) => {
            if session.settings.read().get(name).is_none() {
                return Err(Error::from(SettingsError::Unknown(name.clone())));
            }
            let name = vars::definition(name).map_or(name.as_str(), |definition| definition.name);
            Ok(vec![rows::text_column(name)])
        }
    }
}

pub fn execute(session: &Session, show: &Show) -> Result<Output> {
    let columns = columns(session, show)?;
    let tag = CommandTag::Rows { verb: "SHOW", counted: false };
    let rows = match show {
        Show::All => session
            .settings
            .read()
            .all()
            .into_iter()
            .map(|shown| {
                let description = shown.definition.map_or("", |definition| definition.description);
                vec![Some(shown.name), Some(shown.value), Some(description.to_string())]
            })
            .collect(),
        Show::Variable(name) => vec![vec![session.settings.read().show(name)]],
    };
    rows::text_rows(columns, &rows, tag)
}
