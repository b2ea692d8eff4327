//! What the Hub finds.

use super::Hub;
use super::ask::strange;
use super::error::HubError;
use super::link;
use super::repo::{About, about, is_commit};

const MOST_PAGE: usize = 16 << 20;
const LONGEST_TEXT: usize = 200;
/// What a list has to tell of each; without it the Hub leaves most of it out.
const EXPAND: [&str; 13] = [
    "sha",
    "cardData",
    "gated",
    "private",
    "tags",
    "downloads",
    "likes",
    "lastModified",
    "library_name",
    "pipeline_tag",
    "safetensors",
    "gguf",
    "config",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Trending,
    Downloads,
    Likes,
    Updated,
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Trending => "trendingScore",
            Self::Downloads => "downloads",
            Self::Likes => "likes",
            Self::Updated => "lastModified",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    pub text: String,
    /// Tags that it must have, all of them: "gguf", "awq".
    pub tags: Vec<String>,
    pub sort: Sort,
    /// Models on a page, at most 100.
    pub limit: usize,
    /// As the page before gave it.
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// With the commit that "main" is, where the Hub told it.
    pub models: Vec<(About, Option<String>)>,
    /// For the next page; none at the end.
    pub cursor: Option<String>,
}

impl Hub {
    /// One page of a search.
    ///
    /// # Errors
    /// [`HubError`], each of its cases but those of one repository.
    pub async fn search(&self, wanted: &Wanted) -> Result<Found, HubError> {
        let mut url = self.url(["api", "models"])?;
        let limit = wanted.limit.clamp(1, 100);
        match &wanted.cursor {
            // The query of the next page, whole, as the Hub made it.
            Some(cursor) if cursor.len() <= 4096 => url.set_query(Some(cursor)),
            Some(_) => return Err(HubError::BadName { what: "This page of a search".to_owned() }),
            None => {
                let mut query = url.query_pairs_mut();
                let text: String = wanted.text.trim().chars().take(LONGEST_TEXT).collect();
                if !text.is_empty() {
                    query.append_pair("search", &text);
                }
                for tag in &wanted.tags {
                    query.append_pair("filter", tag);
                }
                query.append_pair("sort", wanted.sort.word());
                query.append_pair("limit", &limit.to_string());
                for name in EXPAND {
                    query.append_pair("expand", name);
                }
            }
        }
        let (page, headers) = self.json(url.clone(), MOST_PAGE, self.asked("The search")).await?;
        let entries = page.as_array().ok_or_else(|| strange(&url, "its answer is no list of models"))?;
        let models = entries
            .iter()
            .take(limit)
            .filter_map(|e| {
                let commit = e["sha"].as_str().filter(|c| is_commit(c)).map(str::to_ascii_lowercase);
                Some((about(e)?, commit))
            })
            .collect();
        Ok(Found { models, cursor: link::next(&headers, &self.endpoint) })
    }
}
