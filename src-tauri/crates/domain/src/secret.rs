//! A text that cannot be printed.

use std::fmt;

/// An API key or token. `Debug` and `Display` hide it; the one way to the text is [`Secret::reveal`], which is easy
/// to find in a review. It is not serialisable on purpose.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the header or the environment variable it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret. Takes the same time wherever they differ, and an empty secret is nobody's.
    pub fn is(&self, given: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), given.as_bytes());
        let differ = ours.iter().zip(theirs).fold(0, |differ, (a, b)| differ | (a ^ b));
        !ours.is_empty() && ours.len() == theirs.len() && differ == 0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("hf_verysecret");
        assert!(!format!("{secret} {secret:?} {:#?}", Some(&secret)).contains("very"));
        assert_eq!(secret.reveal(), "hf_verysecret");
        assert!(secret.is("hf_verysecret"));
        for other in ["", "hf_verysecreT", "hf_verysecre", "hf_verysecret ", "x"] {
            assert!(!secret.is(other), "{other:?}");
        }
        assert!(!Secret::default().is(""));
    }
}
