//! A stack file that can be shown to a stranger: values that may be secret, prompts and remarks are left out.

use toml_edit::visit_mut::{
    VisitMut, visit_array_mut, visit_table_like_kv_mut, visit_table_mut, visit_value_mut,
};
use toml_edit::{Array, DocumentMut, InlineTable, Item, KeyMut, Table, Value};

/// What stands for a value that was left out.
const GONE: &str = "removed";

/// A text, and what was taken out of it, so that it can be taken out of other texts too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shareable {
    pub text: String,
    pub secrets: Vec<String>,
}

/// None where the text is not TOML: then nothing in it can be told apart.
pub fn shareable(text: &str) -> Option<Shareable> {
    let mut document: DocumentMut = text.parse().ok()?;
    let mut clean = Clean::default();
    document.set_trailing("");
    clean.visit_document_mut(&mut document);
    Some(Shareable { text: document.to_string(), secrets: clean.secrets })
}

#[derive(Default)]
struct Clean {
    secrets: Vec<String>,
}

impl Clean {
    fn take(&mut self, value: &mut Value) {
        if let Value::String(text) = value
            && text.value() != GONE
        {
            self.secrets.push(text.value().clone());
        }
        *value = Value::from(GONE);
    }

    fn take_all(&mut self, item: &mut Item) {
        match item {
            Item::Value(Value::Array(array)) => array.iter_mut().for_each(|v| self.take(v)),
            Item::Value(Value::InlineTable(table)) => table.iter_mut().for_each(|(_, v)| self.take(v)),
            Item::Value(value) => self.take(value),
            Item::Table(table) => table.iter_mut().for_each(|(_, item)| self.take_all(item)),
            Item::ArrayOfTables(_) | Item::None => {}
        }
    }

    /// `["--api-key", "x"]`, `["--api-key=x"]`.
    fn arguments(&mut self, array: &mut Array) {
        let mut next = false;
        for value in array.iter_mut() {
            let Some(text) = value.as_str().map(ToOwned::to_owned) else { continue };
            let (name, given) = text.split_once('=').map_or((text.as_str(), None), |(n, v)| (n, Some(v)));
            if next && !text.starts_with("--") {
                self.take(value);
                next = false;
            } else if is_secret(name) && text.starts_with('-') {
                next = given.is_none();
                if let Some(given) = given {
                    self.secrets.push(given.to_owned());
                    *value = Value::from(format!("{name}={GONE}"));
                }
            } else {
                next = false;
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "token", "secret", "password"].iter().any(|word| name.ends_with(word))
}

impl VisitMut for Clean {
    fn visit_table_like_kv_mut(&mut self, mut key: KeyMut<'_>, item: &mut Item) {
        key.leaf_decor_mut().clear();
        key.dotted_decor_mut().clear();
        match key.get() {
            // The names say enough.
            "env" | "keys" | "role" => self.take_all(item),
            name if is_secret(name) => self.take_all(item),
            "args" => {
                if let Some(array) = item.as_array_mut() {
                    self.arguments(array);
                }
            }
            _ => {}
        }
        visit_table_like_kv_mut(self, key, item);
    }

    fn visit_table_mut(&mut self, table: &mut Table) {
        table.decor_mut().clear();
        visit_table_mut(self, table);
    }

    fn visit_inline_table_mut(&mut self, table: &mut InlineTable) {
        table.decor_mut().clear();
        toml_edit::visit_mut::visit_inline_table_mut(self, table);
    }

    fn visit_array_mut(&mut self, array: &mut Array) {
        array.set_trailing("");
        visit_array_mut(self, array);
    }

    fn visit_value_mut(&mut self, value: &mut Value) {
        value.decor_mut().clear();
        visit_value_mut(self, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# of Ada, hf_comment
name = "house" # hf_trailing
[gateway]
keys = ["gw-secret"] # x
[agents.thor]
model = "a/b"
role = "You know that Ada lives in Gondor"
args = ["--max-num-seqs", "4", "--api-key", "sesame", "--hf-token=open", "--port"] # hf_inner
env = { HF_TOKEN = "hf_planted", OTHER = "two" }
[agents.loki.env]
# hf_deep
WANDB_API_KEY = 'three'
[profiles.standard] # hf_head
agents = [
  "thor", # hf_item
]
# hf_end
"#;

    #[test]
    fn what_may_be_secret_is_out_and_the_rest_is_still_a_stack() {
        let shared = shareable(TEXT).unwrap();
        for gone in ["hf_", "Ada", "Gondor", "sesame", "open", "two", "three", "gw-secret", "#"] {
            assert!(!shared.text.contains(gone), "{gone} in\n{}", shared.text);
        }
        for kept in
            ["[agents.thor]", "\"a/b\"", "--max-num-seqs", "HF_TOKEN", "WANDB_API_KEY", "[profiles.standard]"]
        {
            assert!(shared.text.contains(kept), "{kept} not in\n{}", shared.text);
        }
        assert!(!shared.secrets.iter().any(|s| s == GONE));
        for secret in ["hf_planted", "two", "three", "gw-secret", "sesame", "open"] {
            assert!(shared.secrets.iter().any(|s| s == secret), "{secret}");
        }
        assert!(shared.text.parse::<DocumentMut>().is_ok(), "{}", shared.text);
        assert_eq!(shareable("not = = toml"), None);
    }

    #[test]
    fn every_preset_stays_a_stack() {
        for preset in crate::stack_file::presets::all() {
            let shared = shareable(&preset.text()).unwrap();
            assert!(shared.text.parse::<DocumentMut>().is_ok(), "{}", shared.text);
        }
    }
}
