//! Whose token it is.

use super::Hub;
use super::ask::strange;
use super::error::HubError;
use super::path::shown;

const MOST: usize = 1 << 20;

/// The account that a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// Of the token: "read", "write", "fineGrained".
    pub role: Option<String>,
}

impl Hub {
    /// Asks the Hub whose the token is.
    ///
    /// # Errors
    /// [`HubError::BadToken`] for one that it does not take, and for none at all.
    pub async fn whoami(&self) -> Result<Account, HubError> {
        let url = self.url(["api", "whoami-v2"])?;
        let (value, _) = match self.json(url.clone(), MOST, self.asked("The account")).await {
            // There is no repository in this question: nothing but the token can be meant.
            Err(HubError::NeedsToken { .. } | HubError::NotFound { .. } | HubError::NoAccess { .. }) => {
                return Err(HubError::BadToken);
            }
            other => other?,
        };
        let name = value["name"].as_str().map(|n| shown(n, 100)).filter(|n| !n.is_empty());
        let name = name.ok_or_else(|| strange(&url, "its answer is about no account"))?;
        let role = value["auth"]["accessToken"]["role"].as_str().map(|r| shown(r, 40));
        Ok(Account { name, role })
    }
}
