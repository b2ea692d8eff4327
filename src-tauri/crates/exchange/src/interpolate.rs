//! Variables in texts, as compose writes them. Nothing is taken from this machine's environment.

use crate::report::{UNSET_BEGIN, UNSET_END, is_mark};

const DEEPEST: usize = 16;
/// A value that grows beyond this was made to.
const LONGEST: usize = 64 << 10;

/// Why a text cannot be read: one clause.
pub(crate) type Wrong = String;

/// The text with its variables put in. One that is not set leaves a mark, see [`unset_in`].
///
/// # Errors
/// It is not as compose would read it, or one that must be set is not.
pub(crate) fn interpolate<'v>(text: &str, lookup: &dyn Fn(&str) -> Option<&'v str>) -> Result<String, Wrong> {
    if text.chars().any(is_mark) {
        return Err("it holds a character that no text has".to_owned());
    }
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let out = expand(&chars, &mut at, lookup, 0)?;
    Ok(out)
}

fn expand<'v>(
    chars: &[char],
    at: &mut usize,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    depth: usize,
) -> Result<String, Wrong> {
    if depth > DEEPEST {
        return Err("variables are nested too deep".to_owned());
    }
    let mut out = String::new();
    while let Some(&c) = chars.get(*at) {
        if depth > 0 && c == '}' {
            return Ok(out);
        }
        *at += 1;
        if c == '$' {
            match chars.get(*at) {
                Some('$') => {
                    *at += 1;
                    out.push('$');
                }
                Some('{') => {
                    *at += 1;
                    braced(chars, at, lookup, depth, &mut out)?;
                }
                Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
                    let name = name(chars, at);
                    put(&name, lookup(&name), &mut out);
                }
                // `$(…)`, `$5` and a lone `$` are letters here: nothing is ever run.
                _ => out.push('$'),
            }
        } else {
            out.push(c);
        }
        if out.len() > LONGEST {
            return Err("with its variables put in it is longer than any value".to_owned());
        }
    }
    if depth > 0 { Err("a ${ is not closed".to_owned()) } else { Ok(out) }
}

fn braced<'v>(
    chars: &[char],
    at: &mut usize,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    depth: usize,
    out: &mut String,
) -> Result<(), Wrong> {
    let name = name(chars, at);
    if name.is_empty() {
        return Err("a ${ is not followed by a variable's name".to_owned());
    }
    let value = lookup(&name);
    let colon = chars.get(*at) == Some(&':');
    if colon {
        *at += 1;
    }
    // With a colon an empty variable counts as none.
    let there = value.filter(|v| !colon || !v.is_empty());
    let operator = chars.get(*at).copied();
    if operator == Some('}') && !colon {
        *at += 1;
        put(&name, value, out);
        return Ok(());
    }
    if !matches!(operator, Some('-' | '?' | '+')) {
        return Err("what follows a ${NAME is not understood".to_owned());
    }
    *at += 1;
    let word = expand(chars, at, lookup, depth + 1)?;
    *at += 1;
    match (operator, there) {
        (Some('-' | '?'), Some(value)) => out.push_str(value),
        (Some('-'), None) | (Some('+'), Some(_)) => out.push_str(&word),
        (Some('?'), None) => return Err(format!("{name} must be set, and is not")),
        _ => {}
    }
    Ok(())
}

fn name(chars: &[char], at: &mut usize) -> String {
    let from = *at;
    while chars
        .get(*at)
        .is_some_and(|c| c.is_ascii_alphabetic() || *c == '_' || (*at > from && c.is_ascii_digit()))
    {
        *at += 1;
    }
    chars[from..*at].iter().collect()
}

fn put(name: &str, value: Option<&str>, out: &mut String) {
    match value {
        Some(value) => out.push_str(value),
        None => out.extend([UNSET_BEGIN].into_iter().chain(name.chars()).chain([UNSET_END])),
    }
}

/// The variables that this text wanted and nobody set.
pub(crate) fn unset_in(text: &str) -> Vec<&str> {
    text.split(UNSET_BEGIN)
        .skip(1)
        .filter_map(|part| part.split_once(UNSET_END))
        .map(|(name, _)| name)
        .collect()
}

pub(crate) fn has_unset(text: &str) -> bool {
    text.contains(UNSET_BEGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, Wrong> {
        interpolate(text, &|name| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn variables_are_put_in_as_compose_does() {
        for (text, wanted) in [
            ("$A ${A}b", "1 1b"),
            ("${N:-d} ${N-d} ${EMPTY:-d} [${EMPTY-d}]", "d d d []"),
            ("${N:-${A}x${M:-y}}", "1xy"),
            ("${A:+set} [${N:+set}] [${EMPTY:+set}] ${EMPTY+set}", "set [] [] set"),
            ("$$A $${A} $(A) $5 $", "$A ${A} $(A) $5 $"),
            ("${A:?must}", "1"),
            ("${N:-/a:b}", "/a:b"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(wanted), "{text}");
        }
        for bad in ["${", "${A", "${A:", "${A:=x}", "${}", "${1}", "${N:?must be there}", "${N:-${A}"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let unset = of("x${N}y").unwrap_or_default();
        assert_eq!(unset_in(&unset), ["N"]);
        assert!(of(&format!("{}{}", "${N:-".repeat(40), "}".repeat(40))).is_err());
    }
}
