//! Values of ours that travel in `ConfigOptions::extensions`, from planning to functions and
//! relations. They are no options: nothing can be set.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};

/// What can travel.
pub trait Carried: Debug + Send + Sync + Sized + 'static {
    /// Tells the values apart.
    const PREFIX: &'static str;

    /// The value that these options carry.
    fn of(options: &ConfigOptions) -> Option<&Arc<Self>> {
        options.extensions.get::<Carrier<Self>>().map(|carrier| &carrier.0)
    }

    /// Puts the value into `options`.
    fn carry(self: &Arc<Self>, options: &mut ConfigOptions) {
        options.extensions.insert(Carrier(self.clone()));
    }
}

#[derive(Debug)]
struct Carrier<T>(Arc<T>);

impl<T: Carried> ConfigExtension for Carrier<T> {
    const PREFIX: &'static str = T::PREFIX;
}

impl<T: Carried> ExtensionOptions for Carrier<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(Self(self.0.clone()))
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("{}.{key} is not an option of the planner", T::PREFIX)))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
