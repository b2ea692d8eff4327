//! How the window looks, kept in `settings.json`. What Asgard does is in the controller's settings.

use std::path::Path;
use std::sync::Arc;

use api::{ApiError, Code};
use serde_json::Value;
use tauri::{AppHandle, Wry};
use tauri_plugin_store::{Store, StoreBuilder};

/// The page may keep these and nothing else.
const KEYS: &[&str] = &["look", "theme", "lastScreen", "lastAgent", "lastConversation", "collapsed"];

/// A preference is a word or a number, not a place to put things.
const LONGEST: usize = 1000;

pub(crate) struct Preferences {
    store: Option<Arc<Store<Wry>>>,
}

impl Preferences {
    /// A file that cannot be read is as good as none: looks are not worth a failure.
    pub(crate) fn open(app: &AppHandle, file: &Path) -> Self {
        // Saved when something was set, not by a timer that may lose the last change.
        Self { store: StoreBuilder::new(app, file).disable_auto_save().build().ok() }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Value, ApiError> {
        check(key, &Value::Null)?;
        Ok(self.store.as_ref().and_then(|s| s.get(key)).unwrap_or(Value::Null))
    }

    pub(crate) fn set(&self, key: &str, value: Value) -> Result<(), ApiError> {
        check(key, &value)?;
        let Some(store) = &self.store else { return Ok(()) };
        if value.is_null() {
            store.delete(key);
        } else {
            store.set(key, value);
        }
        store.save().map_err(|e| {
            ApiError::new(
                Code::Failed,
                format!("The window's preferences could not be saved: {e}."),
                "Check that settings.json in Asgard's config folder can be written.",
            )
        })
    }
}

fn check(key: &str, value: &Value) -> Result<(), ApiError> {
    if KEYS.contains(&key) && value.to_string().len() <= LONGEST {
        return Ok(());
    }
    Err(ApiError::new(Code::Usage, format!("The window keeps no preference {key:?} of that size."), ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_known_keys_and_small_values() {
        check("look", &json!("dark")).unwrap();
        check("token", &json!("x")).unwrap_err();
        check("look", &json!("x".repeat(5000))).unwrap_err();
    }
}
