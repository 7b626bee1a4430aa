//! `pg_settings`: all settings of the session.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;
use super::value::Value;
use crate::session::vars::Kind;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "name setting unit category short_desc context vartype source min_val max_val enumvals \
         boot_val reset_val pending_restart",
    );
    let settings = context.info.settings.read();
    for shown in settings.all() {
        let definition = shown.definition;
        let (min, max) = definition.map_or((None, None), |d| limits(d.kind));
        let choices = definition.and_then(|d| match d.kind {
            Kind::Enum(choices) => Some(choices.to_vec()),
            _ => None,
        });
        let reset = definition.map(|d| settings.reset_value(d));
        let is_default = definition.is_some_and(|d| settings.get(d.name) == Some(d.default));
        rows.push(vec![
            (&shown.name).into(),
            // Without the unit, which has a column of its own.
            settings.get(&shown.name).map_or(shown.value, str::to_string).into(),
            definition.and_then(|d| d.kind.unit()).into(),
            if definition.is_some() { "Auric".into() } else { "Customized Options".into() },
            definition.map_or("", |d| d.description).into(),
            definition.map_or("user", |d| d.context.name()).into(),
            definition.map_or("string", |d| d.kind.vartype()).into(),
            if is_default { "default".into() } else { "session".into() },
            min.into(),
            max.into(),
            choices.into(),
            definition.map_or(Value::Null, |d| d.default.into()),
            reset.into(),
            false.into(),
        ]);
    }
    Ok(rows)
}

fn limits(kind: Kind) -> (Option<String>, Option<String>) {
    match kind {
        Kind::Int(min, max) | Kind::Milliseconds(min, max) | Kind::Kilobytes(min, max) => {
            (Some(min.to_string()), Some(max.to_string()))
        }
        Kind::Float(min, max) => (Some(min.to_string()), Some(max.to_string())),
        _ => (None, None),
    }
}
