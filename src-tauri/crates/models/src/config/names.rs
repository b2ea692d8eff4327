//! Which modules a checkpoint leaves unquantised: names, parts of names, wildcards and regular expressions.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// Entries beyond these are passed over; real lists name each layer once or twice.
const MOST_ENTRIES: usize = 100_000;
const MOST_EXPRESSIONS: usize = 32;
/// Expressions that name layers by number are tried on so many of them.
const MOST_TRIED: u64 = 256;
/// How checkpoints begin the names of their layers.
const PREFIXES: [&str; 3] = ["model.layers.", "model.language_model.layers.", "language_model.model.layers."];

/// A part of a module's name, cut at its points.
#[derive(Debug)]
struct Part {
    words: Vec<String>,
    /// The last word is only the beginning of one.
    open: bool,
}

impl Part {
    fn new(text: &str) -> Option<Self> {
        let open = text.ends_with('*');
        let text = text.trim_matches('*').trim_matches('.');
        let words: Vec<String> = text
            .split('.')
            .skip_while(|w| matches!(*w, "model" | "language_model" | "transformer"))
            .map(str::to_owned)
            .collect();
        (!words.is_empty() && words.iter().any(|w| !w.is_empty())).then_some(Self { words, open })
    }

    fn is_in(&self, module: &str) -> bool {
        let module: Vec<&str> = module.split('.').collect();
        module.windows(self.words.len()).any(|window| {
            let last = self.words.len() - 1;
            window.iter().zip(&self.words).enumerate().all(|(at, (have, want))| {
                have == want || (self.open && at == last && have.starts_with(want.as_str()))
            })
        })
    }
}

/// A list of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    anywhere: Vec<Part>,
    in_layer: HashMap<u64, Vec<Part>>,
    expressions: Vec<Expression>,
    /// An entry that could not be read.
    pub(super) strange: bool,
}

#[derive(Debug)]
struct Expression {
    of: Regex,
    by_number: bool,
}

impl Names {
    pub(super) fn new<'v>(entries: impl Iterator<Item = &'v Value>) -> Self {
        let mut names = Self::default();
        for entry in entries.take(MOST_ENTRIES).filter_map(Value::as_str) {
            names.add(entry);
        }
        names
    }

    pub(super) fn add(&mut self, entry: &str) {
        // GPTQModel marks what it leaves out with a minus.
        let entry = entry.strip_prefix("-:").unwrap_or(entry);
        let expression = entry.strip_prefix("re:").or_else(|| {
            (entry.contains(".*") || entry.contains('\\') || entry.starts_with('^')).then_some(entry)
        });
        if let Some(text) = expression {
            self.add_expression(text);
            return;
        }
        let words: Vec<&str> = entry.split('.').collect();
        let numbered = words.windows(2).enumerate().find_map(|(at, pair)| {
            let layer = matches!(pair[0], "layers" | "h" | "blocks" | "layer");
            layer.then(|| pair[1].parse::<u64>().ok()).flatten().map(|number| (at, number))
        });
        // A tower's blocks have numbers too.
        let of_tower = words.iter().any(|w| w.contains("vis") || w.contains("audio"));
        match numbered {
            Some((at, number)) if !of_tower => {
                let rest = words.get(at + 2..).unwrap_or_default().join(".");
                // Without a rest it is the whole layer.
                let part = Part::new(&rest).unwrap_or(Part { words: vec![String::new()], open: true });
                self.in_layer.entry(number).or_default().push(part);
            }
            _ => self.anywhere.extend(Part::new(entry)),
        }
    }

    fn add_expression(&mut self, text: &str) {
        if self.expressions.len() >= MOST_EXPRESSIONS || text.len() > 4096 {
            self.strange = true;
            return;
        }
        let built = RegexBuilder::new(&format!("^(?:{text})")).unicode(false).size_limit(1 << 18).build();
        match built {
            Ok(of) => {
                let digits = text.chars().any(|c| c.is_ascii_digit());
                self.expressions.push(Expression { of, by_number: digits });
            }
            Err(_) => self.strange = true,
        }
    }

    /// Whether layers of one kind can differ.
    pub(super) fn by_layer(&self) -> bool {
        !self.in_layer.is_empty() || self.expressions.iter().any(|e| e.by_number)
    }

    /// Whether the module is in the list. `module` is its name within a layer, or from the root without one; several
    /// spellings are separated by bars.
    pub(super) fn has(&self, layer: Option<u64>, module: &str) -> bool {
        module.split('|').any(|module| self.has_one(layer, module))
    }

    fn has_one(&self, layer: Option<u64>, module: &str) -> bool {
        if self.anywhere.iter().any(|part| part.is_in(module)) {
            return true;
        }
        let here = layer.and_then(|layer| self.in_layer.get(&layer));
        if here.is_some_and(|parts| parts.iter().any(|part| part.is_in(module))) {
            return true;
        }
        self.expressions.iter().any(|expression| match layer {
            None => expression.of.is_match(module.as_bytes()),
            Some(layer) => {
                if expression.by_number && layer >= MOST_TRIED {
                    return false;
                }
                PREFIXES
                    .iter()
                    .any(|prefix| expression.of.is_match(format!("{prefix}{layer}.{module}").as_bytes()))
            }
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.anywhere.is_empty() && self.in_layer.is_empty() && self.expressions.is_empty()
    }
}
