//! The ways in which the Hub misbehaves on request, and when.

use serde::{Deserialize, Serialize};

/// One way. Offsets are of the file, not of the answer; an answer that does not reach them is not troubled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Trouble {
    /// The connection is closed in order before this byte.
    Cut { at: u64 },
    /// It is reset before this byte.
    Reset { at: u64 },
    /// Nothing comes from this byte on, and the connection stays open.
    Stall { at: u64 },
    /// Bytes a second on each connection.
    Slow { bytes_per_second: u64 },
    /// Another range than the one asked for, this many bytes further on (or back). An honest one says so in
    /// Content-Range.
    WrongRange { shift: i64, honest: bool },
    /// 200 and everything, whatever was asked for.
    NoRange,
    /// The answer ends this many bytes early. With `length` Content-Length says the short size.
    Short { by: u64, length: bool },
    /// The answer goes on this many bytes too far. With `length` Content-Length says the long size.
    Long { by: u64, length: bool },
    /// One bit of this byte is another.
    Flip { at: u64 },
    /// Another ETag (and X-Linked-Etag) than the content's.
    WrongEtag,
    /// Other bytes of the same size under the same address, with an ETag of their own.
    Changed,
    /// `main` moves on to a new commit in which this file is another, before the answer is made.
    Moved,
    /// gzip, whatever the client accepts, and no Content-Length.
    Gzip,
    /// 200 and a page to log in to the hotel's network.
    Portal,
    /// 401 without a reason.
    Unauthorized,
    /// 403: the licence is not accepted.
    Gated,
    /// 403: the account has no access.
    NoAccess,
    /// 404: no such file.
    Missing,
    /// 429: with Retry-After, with RateLimit, or with neither.
    TooMany { retry_after: Option<u64>, rate_limit: Option<u64> },
    /// Any other status (500, 502, 503, …).
    Failed { status: u16 },
    /// 403 of the CDN: the address is too old.
    Expired,
    /// 302 to this address.
    Redirect { to: String },
    /// A head that never ends.
    EndlessHeaders,
    /// A body that never ends, without Content-Length.
    EndlessBody,
    /// The request is read and never answered.
    Silence,
}

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    #[default]
    Anywhere,
    /// `/api/…`.
    Api,
    /// `/{id}/resolve/…`, on the Hub's own host.
    Resolve,
    /// The CDN.
    Cdn,
}

/// A trouble, and when it strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub trouble: Trouble,
    /// A part of "GET /target" or of "owner/name/path/of/file"; everything where empty.
    #[serde(default)]
    pub of: String,
    #[serde(default)]
    pub on: Place,
    /// GET answers with a body of a file alone, so that a HEAD does not use it up.
    #[serde(default)]
    pub bytes_only: bool,
    /// So many requests that it would strike are let through first.
    #[serde(default)]
    pub after: u32,
    /// How often; for ever where null.
    #[serde(default)]
    pub times: Option<u32>,
}

impl From<Trouble> for Rule {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, of: String::new(), on: Place::Anywhere, bytes_only: false, after: 0, times: None }
    }
}

impl Trouble {
    /// Only of requests that this is a part of; see [`Rule::of`].
    pub fn of(self, of: impl Into<String>) -> Rule {
        Rule::from(self).of(of)
    }

    pub fn on(self, on: Place) -> Rule {
        Rule::from(self).on(on)
    }

    pub fn times(self, times: u32) -> Rule {
        Rule::from(self).times(times)
    }

    pub fn after(self, after: u32) -> Rule {
        Rule::from(self).after(after)
    }
}

impl Rule {
    #[must_use]
    pub fn of(mut self, of: impl Into<String>) -> Self {
        self.of = of.into();
        self
    }

    #[must_use]
    pub fn on(mut self, on: Place) -> Self {
        self.on = on;
        self
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    #[must_use]
    pub fn after(mut self, after: u32) -> Self {
        self.after = after;
        self
    }

    /// See [`Rule::bytes_only`].
    #[must_use]
    pub fn bytes_only(mut self) -> Self {
        self.bytes_only = true;
        self
    }
}

/// What a rule looks at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) place: Place,
    /// "GET /target".
    pub(crate) line: &'a str,
    /// "owner/name/path/of/file", where it is of a file.
    pub(crate) file: &'a str,
    /// The bytes of the file that would be sent.
    pub(crate) range: Option<(u64, u64)>,
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<Rule>);

impl Troubles {
    pub(crate) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub(crate) fn calm(&mut self) {
        self.0.clear();
    }

    /// Of those that strike now and that `wanted` chooses, the first `most`, each counted.
    pub(crate) fn strike(
        &mut self,
        asked: &Asked<'_>,
        most: usize,
        wanted: impl Fn(&Trouble) -> bool,
    ) -> Vec<Trouble> {
        let mut struck = Vec::new();
        for rule in &mut self.0 {
            if struck.len() == most {
                break;
            }
            if !wanted(&rule.trouble) || !rule.concerns(asked) || rule.times == Some(0) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            rule.times = rule.times.map(|n| n - 1);
            struck.push(rule.trouble.clone());
        }
        self.0.retain(|rule| rule.times != Some(0));
        struck
    }
}

impl Rule {
    fn concerns(&self, asked: &Asked<'_>) -> bool {
        if self.on != Place::Anywhere && self.on != asked.place {
            return false;
        }
        if self.bytes_only && asked.range.is_none() {
            return false;
        }
        if !self.of.is_empty() && !asked.line.contains(&self.of) && !asked.file.contains(&self.of) {
            return false;
        }
        match (self.trouble.offset(), asked.range) {
            (None, _) => true,
            (Some(at), Some((from, to))) => (from..to).contains(&at),
            (Some(_), None) => false,
        }
    }
}

impl Trouble {
    fn offset(&self) -> Option<u64> {
        match self {
            Self::Cut { at } | Self::Reset { at } | Self::Stall { at } | Self::Flip { at } => Some(*at),
            _ => None,
        }
    }

    /// Whether it is in the bytes of a file, and so concerns nothing else.
    pub(crate) fn is_of_bytes(&self) -> bool {
        self.offset().is_some()
            || matches!(
                self,
                Self::Slow { .. }
                    | Self::WrongRange { .. }
                    | Self::NoRange
                    | Self::Short { .. }
                    | Self::Long { .. }
                    | Self::Changed
                    | Self::Gzip
            )
    }

    /// Whether it changes what is said of a file.
    pub(crate) fn is_of_head(&self) -> bool {
        matches!(self, Self::WrongEtag | Self::Moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_where_and_as_often_as_it_says() {
        let mut troubles = Troubles::default();
        troubles.add(Trouble::Cut { at: 10 }.of("a/b/w.bin").times(1).after(1));
        let asked = |file, range| Asked { place: Place::Cdn, line: "GET /x", file, range };
        let mut count = |file, range| troubles.strike(&asked(file, range), 9, |_| true).len();
        assert_eq!(count("a/b/w.bin", Some((0, 10))), 0, "it does not reach the byte");
        assert_eq!(count("a/b/other", Some((0, 20))), 0, "another file");
        assert_eq!(count("a/b/w.bin", None), 0, "no bytes");
        assert_eq!(count("a/b/w.bin", Some((0, 20))), 0, "let through first");
        assert_eq!(count("a/b/w.bin", Some((10, 20))), 1);
        assert_eq!(count("a/b/w.bin", Some((10, 20))), 0, "used up");
    }

    #[test]
    fn a_rule_travels_as_json() {
        let rule: Rule =
            serde_json::from_str(r#"{"trouble":{"kind":"cut","at":5},"of":"model","on":"cdn","times":2}"#)
                .unwrap();
        assert_eq!(rule, Trouble::Cut { at: 5 }.of("model").on(Place::Cdn).times(2));
    }
}
