//! The next page: `Link: <address>; rel="next"`.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};

/// A cursor is a few hundred characters; one beyond this is none.
const LONGEST: usize = 4096;

/// The query of the next page's address, where there is one. Only the query is taken, and asked for at the endpoint
/// again: a link cannot lead anywhere else.
pub(crate) fn next(headers: &HeaderMap, endpoint: &str) -> Option<String> {
    let base = Url::parse(endpoint).ok()?;
    headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).find_map(|one| {
        let (address, rest) = one.trim().strip_prefix('<')?.split_once('>')?;
        let rel = rest.split(';').any(|p| {
            p.trim().strip_prefix("rel=").is_some_and(|r| r.trim_matches('"').eq_ignore_ascii_case("next"))
        });
        let url = rel.then(|| base.join(address).ok()).flatten()?;
        url.query().filter(|q| !q.is_empty() && q.len() <= LONGEST).map(ToOwned::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_query_of_the_next_page_is_taken() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            next(&headers, "https://hub")
        };
        assert_eq!(
            of("<https://hub/api/models?cursor=abc%3D&limit=5>; rel=\"next\"").as_deref(),
            Some("cursor=abc%3D&limit=5")
        );
        assert_eq!(of("</api/models?cursor=b>; rel=next").as_deref(), Some("cursor=b"));
        assert_eq!(of("<https://evil.example/x?cursor=c>; rel=\"next\"").as_deref(), Some("cursor=c"));
        assert_eq!(
            of("<https://hub/x?a=1>; rel=\"prev\", <https://hub/x?a=3>; rel=\"next\"").as_deref(),
            Some("a=3")
        );
        for none in ["", "x", "<https://hub/x>; rel=\"next\"", "<https://hub/x?a=1>; rel=\"last\"", "<?a"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("<?{}>; rel=next", "a".repeat(5000))), None);
    }
}
