//! Changes, each of one stretch of text. The text is read again after each: documents are small, and a place that was
//! computed before a change is wrong after it.

use super::space::{after_same_line_comments, comma_after, line_indent, line_start};
use super::tree::{self, Kind, Member, Node};
use super::{DocumentError, Json, Style, json};

/// The object at `path` below the root; none where a key on the way is absent.
fn find<'a>(text: &str, root: &'a Node, path: &[String]) -> Result<Option<&'a Node>, DocumentError> {
    let mut node = root;
    for (depth, key) in path.iter().enumerate() {
        match member(text, node, &path[..depth], key)? {
            Some(found) => node = &found.value,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// The member `key` of the object at `path`.
fn member<'a>(
    text: &str,
    object: &'a Node,
    path: &[String],
    key: &str,
) -> Result<Option<&'a Member>, DocumentError> {
    let Some(members) = object.members() else {
        let place = if path.is_empty() { "the whole file".to_owned() } else { path.join(".") };
        return Err(DocumentError::NotAnObject { place, line: tree::line_of(text, object.span.start) });
    };
    let mut named = members.iter().filter(|m| m.name == key);
    let first = named.next();
    if let (Some(first), Some(second)) = (first, named.next()) {
        let mut place = path.to_vec();
        place.push(key.to_owned());
        return Err(DocumentError::Twice {
            place: place.join("."),
            first: tree::line_of(text, first.start),
            second: tree::line_of(text, second.start),
        });
    }
    Ok(first)
}

pub(super) fn merge(text: &mut String, path: &mut Vec<String>, wanted: &Json) -> Result<(), DocumentError> {
    let Json::Object(members) = wanted else { return Ok(()) };
    for (key, value) in members {
        let Some(root) = tree::parse(text)? else {
            // Nothing but space and comments: they stay above.
            let style = Style::of(text, None);
            if !text.is_empty() && !text.ends_with('\n') {
                text.push_str(style.newline);
            }
            text.push_str(&wanted.print("", &style.unit, style.newline));
            text.push_str(style.newline);
            return Ok(());
        };
        let style = Style::of(text, Some(&root));
        let Some(object) = find(text, &root, path)? else { return Ok(()) };
        let Some(found) = member(text, object, path, key)? else {
            insert(text, &style, object, key, value);
            continue;
        };
        match (&found.value.kind, value) {
            (Kind::Object(_), Json::Object(_)) => {
                path.push(key.clone());
                merge(text, path, value)?;
                path.pop();
            }
            (_, Json::Object(_)) => {
                path.push(key.clone());
                return Err(DocumentError::NotAnObject {
                    place: path.join("."),
                    line: tree::line_of(text, found.value.span.start),
                });
            }
            _ if found.value.to_json() == *value => {}
            _ => {
                let printed = value.print(line_indent(text, found.start), &style.unit, style.newline);
                text.replace_range(found.value.span.clone(), &printed);
            }
        }
    }
    Ok(())
}

fn insert(text: &mut String, style: &Style, object: &Node, key: &str, value: &Json) {
    let (open, close) = (object.span.start, object.span.end - 1);
    let base = line_indent(text, open).to_owned();
    let members = object.members().unwrap_or_default();
    let print = |indent: &str| {
        let mut printed = String::new();
        json::quote(&mut printed, key);
        printed.push_str(": ");
        printed.push_str(&value.print(indent, &style.unit, style.newline));
        printed
    };
    let Some(last) = members.last() else {
        let indent = format!("{base}{}", style.unit);
        // Comments that an empty object holds stay where they are.
        let kept = open + 1 + text[open + 1..close].trim_end().len();
        let inside = format!("{n}{indent}{}{n}{base}", print(&indent), n = style.newline);
        text.replace_range(kept..close, &inside);
        return;
    };
    let after = last.value.span.end;
    let comma = comma_after(text, after);
    let stop = after_same_line_comments(text, comma.map_or(after, |at| at + 1));
    let rest = &text[stop..close];
    let one_line = !text[open..close].contains('\n');
    let trailing = if comma.is_some() { "," } else { "" };
    if one_line && value.is_scalar() {
        text.insert_str(stop, &format!(" {}{trailing}", print(&base)));
    } else {
        let indent =
            line_start(text, last.start).map_or_else(|| format!("{base}{}", style.unit), str::to_owned);
        // A brace that closes on the line of the last member gets a line of its own.
        let closes_here = !rest.contains('\n') && rest.trim().is_empty();
        let end = if closes_here { format!("{}{base}", style.newline) } else { String::new() };
        let until = if closes_here { close } else { stop };
        let inside = format!("{}{indent}{}{trailing}{end}", style.newline, print(&indent));
        text.replace_range(stop..until, &inside);
    }
    if comma.is_none() {
        text.insert(after, ',');
    }
}

pub(super) fn remove(text: &mut String, path: &[&str]) -> Result<(), DocumentError> {
    let Some((key, above)) = path.split_last() else { return Ok(()) };
    let above: Vec<String> = above.iter().map(|s| (*s).to_owned()).collect();
    let Some(root) = tree::parse(text)? else { return Ok(()) };
    let Some(object) = find(text, &root, &above)? else { return Ok(()) };
    if member(text, object, &above, key)?.is_none() {
        return Ok(());
    }
    let members = object.members().unwrap_or_default();
    let Some(at) = members.iter().position(|m| m.name == *key) else { return Ok(()) };
    let found = &members[at];
    let end = found.value.span.end;
    let own_comma = comma_after(text, end);
    // The comma before is no longer needed where this was the last and had none of its own.
    let comma = own_comma.or_else(|| {
        let before = at.checked_sub(1).and_then(|n| members.get(n))?;
        comma_after(text, before.value.span.end)
    });
    let mut cuts: Vec<_> = comma.map(|c| c..c + 1).into_iter().collect();
    cuts.push(found.start..end);
    cuts.sort_by_key(|c| std::cmp::Reverse(c.start));
    let start = found.start;
    let mut gone_before = 0;
    for cut in cuts {
        if cut.start < start {
            gone_before += 1;
        }
        text.replace_range(cut, "");
    }
    drop_blank_line(text, start - gone_before);
    Ok(())
}

/// The line that a member left empty goes with it.
fn drop_blank_line(text: &mut String, at: usize) {
    let Some(from) = text[..at].rfind('\n').map(|n| n + 1) else { return };
    let Some(to) = text[at..].find('\n').map(|n| at + n + 1) else { return };
    if text[from..to].trim().is_empty() {
        text.replace_range(from..to, "");
    }
}
