//! Why the Hub did not give what was asked for, with the button that helps.

use api::shapes::downloads::Remedy;
use api::shapes::hub::HubProblem;
use api::{ApiError, Code};
use models::hub::HubError;

/// For a card, a row of the queue, the account.
pub(crate) fn problem(error: &HubError) -> HubProblem {
    let (remedy, page) = match error {
        HubError::NeedsToken { .. } => (Some(Remedy::AddToken), None),
        HubError::GatedNeedsToken { page, .. } => (Some(Remedy::AddToken), Some(page)),
        HubError::BadToken | HubError::WeakToken { .. } => (Some(Remedy::ChangeToken), None),
        HubError::LicenceNotAccepted { page, .. } => (Some(Remedy::AcceptLicence), Some(page)),
        HubError::NoAccess { page, .. } => (Some(Remedy::AskForAccess), Some(page)),
        HubError::NotFound { .. } | HubError::BadName { .. } | HubError::TooMany { .. } => {
            (Some(Remedy::ChooseOther), None)
        }
        HubError::Offline => (None, None),
        HubError::RateLimited { .. }
        | HubError::Unreachable { .. }
        | HubError::Strange { .. }
        | HubError::Failed { .. } => (Some(Remedy::TryAgain), None),
    };
    HubProblem {
        message: error.to_string(),
        next: error.next().to_owned(),
        remedy,
        page: page.filter(|p| p.starts_with("https://") || p.starts_with("http://")).cloned(),
    }
}

/// For a request that fails with it.
pub(crate) fn api_error(error: &HubError) -> ApiError {
    let code = match error {
        HubError::NotFound { .. } | HubError::NeedsToken { .. } => Code::Unknown,
        HubError::BadName { .. } => Code::Usage,
        HubError::RateLimited { .. } => Code::Busy,
        _ => Code::Failed,
    };
    // A face without buttons needs the page in words.
    let next = match problem(error).page {
        Some(page) => format!("{} ({page})", error.next().trim_end_matches('.')) + ".",
        None => error.next().to_owned(),
    };
    ApiError::new(code, error.to_string(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_button_that_helps() {
        let (repo, page) = ("o/n".to_owned(), "https://hub/o/n".to_owned());
        for (error, remedy, with_page) in [
            (HubError::NeedsToken { repo: repo.clone() }, Remedy::AddToken, false),
            (HubError::GatedNeedsToken { repo: repo.clone(), page: page.clone() }, Remedy::AddToken, true),
            (HubError::BadToken, Remedy::ChangeToken, false),
            (
                HubError::LicenceNotAccepted { repo: repo.clone(), page: page.clone() },
                Remedy::AcceptLicence,
                true,
            ),
            (HubError::NoAccess { repo, page: page.clone() }, Remedy::AskForAccess, true),
            (HubError::RateLimited { seconds: 5 }, Remedy::TryAgain, false),
        ] {
            let found = problem(&error);
            assert_eq!((found.remedy, found.page.is_some()), (Some(remedy), with_page), "{error:?}");
            assert_eq!(api_error(&error).next.contains(&page), with_page);
        }
        let script = HubError::NoAccess { repo: "o/n".to_owned(), page: "javascript:alert(1)".to_owned() };
        assert_eq!(problem(&script).page, None, "only a page may be opened");
    }
}
