//! What an answer to "these bytes of that file" is worth, by its status and headers.

use super::ranges::Span;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Of the whole file, as listed.
    pub size: u64,
    /// As listed: SHA-256 of a large file, git's SHA-1 of a small one.
    pub hash: &'a str,
    pub commit: &'a str,
    /// None: the whole file.
    pub span: Option<Span>,
    /// The one who answers is the Hub itself, not a store that it pointed to.
    pub hub: bool,
    /// A page of HTML is what is wanted.
    pub html: bool,
}

/// The headers that say something about it, as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard<'a> {
    pub status: u16,
    pub content_length: Option<u64>,
    pub content_range: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub etag: Option<&'a str>,
    pub linked_etag: Option<&'a str>,
    pub linked_size: Option<&'a str>,
    pub repo_commit: Option<&'a str>,
}

/// What the body of a good answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// These bytes; perhaps fewer than asked for, never others.
    Part(Span),
    /// The file from its first byte: the server knows no ranges, or was asked for none.
    Whole,
}

/// Why an answer is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is no answer of a Hub at all. A portal, a proxy; asking again later may help.
    Strange(String),
    /// The Hub's, but of another file than listed. Asking again does not help.
    Changed(String),
}

/// Judges an answer with 200 or 206, and what it redirected from; others are errors, and read elsewhere.
pub fn judge(asked: &Asked<'_>, heard: &Heard<'_>) -> Result<Body, Refused> {
    same_file(asked, heard)?;
    if let Some(encoding) = heard.content_encoding.filter(|e| !e.eq_ignore_ascii_case("identity")) {
        return Err(Refused::Strange(format!("it compressed the bytes with {}", short(encoding))));
    }
    let is_html =
        heard.content_type.is_some_and(|t| t.trim_start().to_ascii_lowercase().starts_with("text/html"));
    if is_html && !asked.html {
        return Err(Refused::Strange("it sent a web page: this network may want you to sign in".to_owned()));
    }
    let length = |wanted: u64| match heard.content_length {
        Some(length) if length != wanted => {
            Err(Refused::Strange(format!("it announced {length} bytes where {wanted} belong")))
        }
        _ => Ok(()),
    };
    if heard.status == 200 {
        length(asked.size)?;
        return Ok(Body::Whole);
    }
    let wrong = |what: &str| Refused::Strange(format!("it sent {what}"));
    let (span, total) =
        heard.content_range.and_then(content_range).ok_or_else(|| wrong("a range without its place"))?;
    let wanted = asked.span.unwrap_or(Span { start: 0, end: asked.size });
    if total.is_some_and(|t| t != asked.size) {
        return Err(Refused::Changed(format!(
            "it has {} bytes, not {}",
            total.unwrap_or_default(),
            asked.size
        )));
    }
    if span.start != wanted.start || span.end > wanted.end {
        return Err(wrong("another range than was asked for"));
    }
    length(span.len())?;
    Ok(Body::Part(span))
}

/// Whether headers (of an answer, or of a redirect on the way) speak of the file that was listed.
pub fn same_file(asked: &Asked<'_>, heard: &Heard<'_>) -> Result<(), Refused> {
    if let Some(commit) =
        heard.repo_commit.filter(|c| asked.hub && !c.trim().eq_ignore_ascii_case(asked.commit))
    {
        return Err(Refused::Changed(format!("it is of commit {}", short(commit))));
    }
    if let Some(size) = heard.linked_size.filter(|s| asked.hub && s.trim().parse() != Ok(asked.size)) {
        return Err(Refused::Changed(format!("it has {} bytes, not {}", short(size), asked.size)));
    }
    let etag = heard.linked_etag.or(heard.etag.filter(|_| (200..300).contains(&heard.status)));
    if let Some(etag) = etag.filter(|_| asked.hub).map(bare) {
        // A mirror may have marks of its own; one that looks like the hash of a file must be this file's.
        let is_hash = matches!(etag.len(), 40 | 64) && etag.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hash && etag.len() == asked.hash.len() && !etag.eq_ignore_ascii_case(asked.hash) {
            return Err(Refused::Changed(format!("its mark is {}", short(etag))));
        }
    }
    Ok(())
}

/// An ETag without quotes and without the mark of a weak one.
pub fn bare(etag: &str) -> &str {
    let etag = etag.trim();
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// `bytes 0-99/1000`; the whole's size may be unknown ("*").
fn content_range(text: &str) -> Option<(Span, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (start, end) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?.checked_add(1)?);
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (start < end).then_some((Span { start, end }, total))
}

/// What strangers wrote, bounded for a sentence.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
    const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000bb";
    const COMMIT: &str = "1111111111111111111111111111111111111111";

    fn asked(span: Option<(u64, u64)>) -> Asked<'static> {
        let span = span.map(|(s, e)| Span::new(s, e));
        Asked { size: 1000, hash: HASH, commit: COMMIT, span, hub: true, html: false }
    }

    fn part(range: &str) -> Heard<'_> {
        Heard { status: 206, content_range: Some(range), ..Heard::default() }
    }

    fn strange(found: &Result<Body, Refused>) -> bool {
        matches!(found, Err(Refused::Strange(_)))
    }

    fn changed(found: &Result<Body, Refused>) -> bool {
        matches!(found, Err(Refused::Changed(_)))
    }

    #[test]
    fn a_part_is_the_one_that_was_asked_for_or_its_beginning() {
        let good = |range, end| {
            let found = judge(&asked(Some((100, 200))), &part(range));
            assert_eq!(found, Ok(Body::Part(Span::new(100, end))), "{range}");
        };
        good("bytes 100-199/1000", 200);
        good("bytes 100-199/*", 200);
        good("bytes 100-150/1000", 151);
        for range in [
            "bytes 0-99/1000",
            "bytes 101-199/1000",
            "bytes 100-200/1000",
            "bytes 99-199/1000",
            "bytes 100-99/1000",
            "bytes */1000",
            "100-199/1000",
            "bytes 100-199",
            "bytes 100-18446744073709551615/*",
            "bytes -1-5/1000",
            "",
        ] {
            let found = judge(&asked(Some((100, 200))), &part(range));
            assert!(strange(&found), "{range}: {found:?}");
        }
        assert!(changed(&judge(&asked(Some((100, 200))), &part("bytes 100-199/1001"))));
        assert!(strange(&judge(&asked(Some((100, 200))), &Heard { status: 206, ..Heard::default() })));
        let short = Heard { content_length: Some(50), ..part("bytes 100-199/1000") };
        assert!(strange(&judge(&asked(Some((100, 200))), &short)));
    }

    #[test]
    fn a_whole_file_has_its_size() {
        let whole = |length| Heard { status: 200, content_length: length, ..Heard::default() };
        assert_eq!(judge(&asked(None), &whole(Some(1000))), Ok(Body::Whole));
        assert_eq!(judge(&asked(Some((100, 200))), &whole(None)), Ok(Body::Whole));
        assert!(strange(&judge(&asked(None), &whole(Some(999)))));
        assert!(strange(&judge(&asked(None), &whole(Some(1001)))));
    }

    #[test]
    fn a_portal_s_page_is_no_file() {
        let page = Heard { status: 200, content_type: Some("Text/HTML; charset=utf-8"), ..Heard::default() };
        assert!(strange(&judge(&asked(None), &page)));
        assert!(judge(&Asked { html: true, ..asked(None) }, &page).is_ok());
        let packed = Heard { status: 200, content_encoding: Some("gzip"), ..Heard::default() };
        assert!(strange(&judge(&asked(None), &packed)));
        let plain = Heard { status: 200, content_encoding: Some("identity"), ..Heard::default() };
        assert!(judge(&asked(None), &plain).is_ok());
    }

    #[test]
    fn another_file_is_seen_by_its_marks() {
        let with = |etag: Option<&'static str>, linked: Option<&'static str>| Heard {
            status: 200,
            etag,
            linked_etag: linked,
            ..Heard::default()
        };
        let quoted: &'static str = "\"00000000000000000000000000000000000000000000000000000000000000aa\"";
        for good in [
            with(Some(HASH), None),
            with(Some(quoted), None),
            with(Some("\"x-1\""), None),
            with(Some(OTHER), Some(HASH)),
        ] {
            assert!(judge(&asked(None), &good).is_ok(), "{good:?}");
        }
        assert!(changed(&judge(&asked(None), &with(Some(OTHER), None))));
        assert!(changed(&judge(&asked(None), &with(Some(HASH), Some(OTHER)))));
        // A store behind the Hub names its files as it likes.
        assert!(judge(&Asked { hub: false, ..asked(None) }, &with(Some(OTHER), None)).is_ok());
        let size = Heard { status: 200, linked_size: Some("999"), ..Heard::default() };
        assert!(changed(&judge(&asked(None), &size)));
        let commit = Heard { status: 200, repo_commit: Some(OTHER), ..Heard::default() };
        assert!(changed(&judge(&asked(None), &commit)));
        // A redirect's own ETag is the redirect's.
        assert!(
            same_file(&asked(None), &Heard { status: 302, etag: Some(OTHER), ..Heard::default() }).is_ok()
        );
    }
}
