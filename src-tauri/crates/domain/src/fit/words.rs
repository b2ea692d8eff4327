//! What a card says of it.

use super::{Beside, BesideKind, Kind};
use crate::memory::{Bytes, Unit};

/// More names than that are counted.
const MOST_NAMES: usize = 2;

pub(super) fn spare(spare: Option<Bytes>, unit: Unit) -> String {
    spare.map_or_else(|| "Fits".to_owned(), |bytes| format!("{} to spare", bytes.show_down(unit)))
}

pub(super) fn short(bytes: Bytes, unit: Unit) -> String {
    format!("{} short", bytes.show_up(unit))
}

pub(super) fn with_context(context: u32, left: Option<Bytes>, unit: Unit) -> String {
    match left {
        Some(bytes) => format!("{} context, {} to spare", tokens(context), bytes.show_down(unit)),
        None => format!("{} context", tokens(context)),
    }
}

/// "32K", as contexts are spoken of.
pub(super) fn tokens(context: u32) -> String {
    if context >= 1024 { format!("{}K", context / 1024) } else { context.to_string() }
}

pub(super) fn line(kind: Kind, profiles: &[Beside], instead: &[String], wished: u32, unit: Unit) -> String {
    let Some((alone, beside)) = profiles.split_last() else { return "Not known".to_owned() };
    let of = |kind: BesideKind| -> Vec<&str> {
        beside.iter().filter(|b| b.kind == kind).filter_map(|b| b.profile.as_deref()).collect()
    };
    match kind {
        Kind::Fits => {
            let (inside, fits) = (of(BesideKind::InProfile), of(BesideKind::Fits));
            match (inside.len(), fits.len()) {
                (_, 0) => format!("Part of {}", names(&inside, beside.len(), "every profile")),
                (0, _) => format!("Fits beside {}", names(&fits, beside.len(), "every profile")),
                (_, n) if n <= MOST_NAMES => {
                    format!(
                        "Part of {}, fits beside {}",
                        names(&inside, beside.len(), "every profile"),
                        names(&fits, beside.len(), "every profile")
                    )
                }
                (_, n) => format!(
                    "Part of {}, fits beside {n} others",
                    names(&inside, beside.len(), "every profile")
                ),
            }
        }
        Kind::LessContext => {
            let best = beside
                .iter()
                .filter(|b| b.kind == BesideKind::LessContext)
                // The first of equals, which is the file's order.
                .rev()
                .max_by_key(|b| b.context);
            match best.and_then(|b| Some((b.context?, b.profile.as_deref()?))) {
                Some((context, profile)) => {
                    format!("Fits with less context, {} beside {profile}", tokens(context))
                }
                None => "Fits with less context".to_owned(),
            }
        }
        Kind::Alone => {
            let whom = match instead {
                [] => "Only with nobody else awake".to_owned(),
                [one] => format!("Only in place of {one}"),
                [rest @ .., last] if rest.len() <= 3 => {
                    format!("Only in place of {} or {last}", rest.join(", "))
                }
                more => format!("Only in place of one of {} agents", more.len()),
            };
            match alone.context.filter(|c| alone.kind == BesideKind::LessContext && *c < wished) {
                Some(context) => format!("{whom}, with {} context", tokens(context)),
                None => whom,
            }
        }
        Kind::Never => match profiles.iter().filter_map(|b| b.short).min() {
            Some(least) => {
                format!("Too large for every profile, by {} or more", least.show_up(unit))
            }
            None => "Fits beside no profile".to_owned(),
        },
        Kind::Unknown => "Not known".to_owned(),
    }
}

/// "standard and heimdall", "4 of 5 profiles", "every profile".
fn names(all: &[&str], of: usize, every: &str) -> String {
    match all {
        [one] => (*one).to_owned(),
        [a, b] => format!("{a} and {b}"),
        all if all.len() == of => every.to_owned(),
        all => format!("{} of {of} profiles", all.len()),
    }
}
