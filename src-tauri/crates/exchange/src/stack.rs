//! Somebody else's stack file: its text as it is, without the tokens in it.

use toml_edit::{DocumentMut, Item, Value};

use crate::finish::problems;
use crate::report::{MOST_BYTES, Place, Report, is_secret_name, plain, quoted};
use crate::{Import, ImportError, SourceFile};

/// # Errors
/// It is no stack file, or one that the check refuses.
pub fn import_stack(file: &SourceFile) -> Result<Import, ImportError> {
    if file.text.len() > MOST_BYTES {
        return Err(ImportError {
            message: format!("{} is larger than a megabyte.", quoted(&file.name)),
            next: "Give the stack file itself.".to_owned(),
        });
    }
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(&file.text);
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let line = line.map(|l| format!(", line {l}")).unwrap_or_default();
        ImportError {
            message: format!("{}{line}: it is not TOML ({}).", quoted(&file.name), plain(error.message())),
            next: "Correct it there, then import it again.".to_owned(),
        }
    })?;
    let mut report = Report::default();
    let agents: Vec<String> = document
        .get("agents")
        .and_then(Item::as_table_like)
        .map(|agents| agents.iter().map(|(name, _)| name.to_owned()).collect())
        .unwrap_or_default();
    let mut changed = false;
    for name in &agents {
        let Some(agent) = document.get_mut("agents").and_then(|a| a.get_mut(name)) else { continue };
        changed |= env(file, name, agent, &mut report);
        if let Some(args) = agent.get_mut("args").and_then(Item::as_array_mut) {
            changed |= arguments(file, name, args, &mut report);
        }
    }
    let text = if changed { document.to_string() } else { text.to_owned() };
    if report.holds_secret(&text) {
        return Err(ImportError {
            message: format!(
                "{} holds what looks like a token, outside of env and args.",
                quoted(&file.name)
            ),
            next: "Take it out there, then import it again.".to_owned(),
        });
    }
    if let Some(problem) = problems(&text) {
        let at = if problem.path.is_empty() {
            String::new()
        } else {
            format!(", {}", plain(&problem.path.join(".")))
        };
        return Err(report.error(ImportError {
            message: format!("{}{at}: {}", quoted(&file.name), problem.message),
            next: problem.next,
        }));
    }
    let place = Place { file: file.name.clone(), line: None };
    for name in &agents {
        report.understood(&place, Some(name), &format!("agents.{name}"), "Taken as it is.");
    }
    Ok(Import {
        stack: text,
        understood: report.understood,
        corrected: report.corrected,
        not_understood: report.not_understood,
        secrets: report.secrets,
    })
}

fn env(file: &SourceFile, agent: &str, table: &mut Item, report: &mut Report) -> bool {
    let Some(env) = table.get_mut("env").and_then(Item::as_table_like_mut) else { return false };
    let place = Place { file: file.name.clone(), line: None };
    let found: Vec<(String, String)> = env
        .iter()
        .filter_map(|(key, item)| Some((key.to_owned(), item.as_str()?.to_owned())))
        .filter(|(key, value)| is_secret_name(key) || crate::report::looks_secret(value))
        .collect();
    for (key, value) in &found {
        report.secret(&place, Some(agent), key, value);
        env.remove(key);
    }
    !found.is_empty()
}

fn arguments(file: &SourceFile, agent: &str, args: &mut toml_edit::Array, report: &mut Report) -> bool {
    let place = Place { file: file.name.clone(), line: None };
    let words: Vec<String> = args.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut remove = Vec::new();
    let mut behind = false;
    for (i, word) in words.iter().enumerate() {
        let (flag, inline) = word.split_once('=').map_or((word.as_str(), None), |(f, v)| (f, Some(v)));
        let named = flag.starts_with("--") && is_secret_name(&flag.trim_start_matches('-').replace('-', "_"));
        if named || behind || crate::report::looks_secret(word) {
            if let Some(value) = if named { inline } else { Some(word.as_str()) } {
                report.secret(
                    &place,
                    Some(agent),
                    &format!("{}_ARGUMENT", agent.to_ascii_uppercase()),
                    value,
                );
            }
            remove.push(i);
            behind = named && inline.is_none();
        }
    }
    // Only where every argument is a text, so that the places agree.
    if words.len() == args.len() {
        for i in remove.iter().rev() {
            args.remove(*i);
        }
    }
    !remove.is_empty()
}
