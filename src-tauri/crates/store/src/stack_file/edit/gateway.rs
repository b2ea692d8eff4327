//! Changes of `[gateway]`: its settings, and the names of its keys.

use std::collections::BTreeMap;

use serde_json::Value;
use toml_edit::{Array, InlineTable, Item, Table};

use super::{Result, allowed, parse, parse_mut, text, values, wrong};

pub(super) fn change(text: &str, keys: &BTreeMap<String, Value>) -> Result<String> {
    let mut text = text.to_owned();
    let set: Vec<_> = keys.iter().filter(|(_, value)| !value.is_null()).collect();
    if parse(&text)?.as_table().get("gateway").is_none() {
        let keys = set.iter().map(|(key, value)| Ok(((*key).clone(), values::to_toml(key, value)?)));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        return if keys.is_empty() { Ok(text) } else { text::add_header(&text, &["gateway"], &keys) };
    }
    for (key, value) in set {
        let mut document = parse_mut(&text)?;
        let table = document["gateway"].as_table_like_mut().ok_or_else(no_table)?;
        values::put(table, key, value)?;
        text = document.to_string();
    }
    for (key, _) in keys.iter().filter(|(_, value)| value.is_null()) {
        text = text::take_away(&text, &["gateway", key])?;
    }
    Ok(text)
}

pub(super) fn add_key(text: &str, name: &str, agents: Option<&[String]>) -> Result<String> {
    allowed(name)?;
    let document = parse(text)?;
    let gateway = document.as_table().get("gateway");
    let keys = gateway.and_then(|gateway| gateway.get("keys"));
    if keys.and_then(|keys| keys.get(name)).is_some() {
        return Err(wrong(format!("There is a key {name} already."), "Choose another name."));
    }
    let list: Option<Array> = agents.map(|agents| agents.iter().collect());
    let pairs: Vec<(String, toml_edit::Value)> =
        list.into_iter().map(|list| ("agents".to_owned(), toml_edit::Value::Array(list))).collect();
    // A header can follow where nothing of it is written in another way.
    let open =
        |item: Option<&Item>| item.is_none_or(|item| item.as_table().is_some_and(|table| !table.is_dotted()));
    if open(gateway) && open(keys) {
        return text::add_header(text, &["gateway", "keys", name], &pairs);
    }
    let mut document = parse_mut(text)?;
    let gateway = document["gateway"].as_table_like_mut().ok_or_else(no_table)?;
    if gateway.get("keys").is_none() {
        gateway.insert("keys", Item::Value(toml_edit::Value::InlineTable(InlineTable::new())));
    }
    let keys = gateway.get_mut("keys").and_then(Item::as_table_like_mut).ok_or_else(no_table)?;
    keys.insert(name, Item::Value(toml_edit::Value::InlineTable(pairs.into_iter().collect())));
    Ok(document.to_string())
}

pub(super) fn remove_key(text: &str, name: &str) -> Result<String> {
    let document = parse(text)?;
    let gateway = document.as_table().get("gateway");
    if gateway.and_then(|gateway| gateway.get("keys")).and_then(|keys| keys.get(name)).is_none() {
        return Err(wrong(format!("There is no key {name:?}."), "See the keys with: asgard keys list."));
    }
    text::take_away(text, &["gateway", "keys", name])
}

/// The lists of agents that keys may use.
pub(super) fn each_list(root: &mut Table, mut change: impl FnMut(&mut Array)) {
    let gateway = root.get_mut("gateway").and_then(Item::as_table_like_mut);
    let Some(keys) = gateway.and_then(|g| g.get_mut("keys")).and_then(Item::as_table_like_mut) else {
        return;
    };
    for (_, key) in keys.iter_mut() {
        let list = key.as_table_like_mut().and_then(|k| k.get_mut("agents")).and_then(Item::as_array_mut);
        list.map(&mut change);
    }
}

fn no_table() -> super::EditError {
    wrong("`gateway` in the stack file is no table.", "Correct it in the file first.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Edit, edit};
    use super::*;

    fn set(json: Value) -> Edit {
        Edit::ChangeGateway { keys: serde_json::from_value(json).unwrap() }
    }

    fn key(name: &str, agents: Option<&[&str]>) -> Edit {
        let agents = agents.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
        Edit::AddGatewayKey { name: name.into(), agents }
    }

    fn gone(name: &str) -> Edit {
        Edit::RemoveGatewayKey { name: name.into() }
    }

    fn value(text: &str) -> Value {
        values::to_json(parse(text).unwrap().as_item()).get("gateway").cloned().unwrap_or_default()
    }

    const AGENTS: &str = "# mine\n[agents.thor] # first\nmodel = \"m\"\n\n[agents.odin]\nmodel = \"n\"\n";

    #[test]
    fn settings_and_keys_in_every_way_of_writing_them() {
        for before in [
            "",
            "\n[gateway] # here\nlisten = \"127.0.0.1:8899\" # stays\n# odin_ttl = 3\n",
            "\n# Bifrost\n[gateway]\n\n# below\n[profiles.a]\nagents = [\"thor\"] # both\n",
            "\n[gateway.keys.old]\nagents = [\"thor\"] # only\n",
            "\n[gateway]\nkeys.old.agents = [\"thor\"] # only\n",
            "\n[gateway.keys]\nold = { agents = [\"thor\"] } # only\n",
            "\n[gateway]\nkeys = { old = { agents = [\"thor\"] } } # only\n",
        ] {
            let whole = format!("{AGENTS}{before}");
            let edits = [
                set(json!({"odin_ttl": 600, "wake": false})),
                key("zed", Some(&["odin", "thor"])),
                key("open-code", None),
            ];
            let text = edit(&whole, &edits).unwrap();
            let mut expected = value(&whole);
            if expected.is_null() {
                expected = json!({});
            }
            expected["odin_ttl"] = json!(600);
            expected["wake"] = json!(false);
            expected["keys"]["zed"] = json!({"agents": ["odin", "thor"]});
            expected["keys"]["open-code"] = json!({});
            assert_eq!(value(&text), expected, "{text}");
            for line in whole.lines().filter(|l| l.contains('#')) {
                let comment = line.split_once('#').unwrap().1;
                assert!(text.contains(comment), "{comment:?} is lost:\n{text}");
            }
            let back = [gone("zed"), gone("open-code"), set(json!({"odin_ttl": null, "wake": null}))];
            let back = edit(&text, &back).unwrap();
            let mut left = value(&back);
            // An empty table that a program made may stay.
            if let Some(table) = left.as_object_mut()
                && table.get("keys") == Some(&json!({}))
            {
                table.remove("keys");
            }
            let shall = value(&whole);
            let empty = |v: &Value| v.is_null() || *v == json!({});
            assert!(shall == left || empty(&shall) && empty(&left), "{back}");
        }
    }

    #[test]
    fn a_table_that_goes_takes_no_comment_of_others() {
        let text = "[gateway]\nwake = true\n\n# for the editor\n[gateway.keys.zed]\n\n# what follows\n[agents.thor]\n";
        assert_eq!(
            edit(text, &[gone("zed")]).unwrap(),
            "[gateway]\nwake = true\n\n# what follows\n[agents.thor]\n"
        );
    }

    #[test]
    fn a_new_key_stands_behind_the_gateway() {
        let text = "[gateway]\nwake = true\n\n[agents.thor]\nmodel = \"m\"\n";
        assert_eq!(
            edit(text, &[key("zed", Some(&["thor"]))]).unwrap(),
            "[gateway]\nwake = true\n\n[gateway.keys.zed]\nagents = [\"thor\"]\n\n[agents.thor]\nmodel = \"m\"\n"
        );
        assert_eq!(edit("", &[set(json!({"wake": false}))]).unwrap(), "[gateway]\nwake = false\n");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let text = format!("{AGENTS}\n[gateway.keys.old]\n");
        for (edits, says) in [
            (key("old", None), "already"),
            (key("Old One", None), "cannot be a name"),
            (key("zed", Some(&["loki"])), "no agent"),
            (gone("zed"), "no key"),
        ] {
            let error = edit(&text, &[edits]).unwrap_err();
            assert!(error.message.contains(says) && error.next.ends_with('.'), "{error}");
        }
        assert!(edit("gateway = 3\n", &[set(json!({"wake": true}))]).is_err());
        assert!(edit("gateway = 3\n", &[key("zed", None)]).is_err());
    }

    #[test]
    fn a_key_follows_its_agents() {
        let text = format!("{AGENTS}\n[gateway.keys.zed]\nagents = [\"thor\", \"odin\"]\n");
        let renamed = Edit::RenameAgent { agent: "thor".into(), to: "freya".into() };
        let text = edit(&text, &[renamed]).unwrap();
        assert_eq!(value(&text)["keys"]["zed"]["agents"], json!(["freya", "odin"]));
        let text = edit(&text, &[Edit::RemoveAgent { agent: "freya".into() }]).unwrap();
        assert_eq!(value(&text)["keys"]["zed"]["agents"], json!(["odin"]));
        let text = edit(&text, &[Edit::RemoveAgent { agent: "odin".into() }]).unwrap();
        assert_eq!(value(&text)["keys"]["zed"]["agents"], json!([]), "nobody, which is not everybody");
    }
}
