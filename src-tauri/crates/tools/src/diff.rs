//! What would change, as a unified diff.

use similar::TextDiff;

/// Empty where nothing would.
pub fn unified(before: &str, after: &str, name: &str, existed: bool) -> String {
    if before == after && existed {
        return String::new();
    }
    let from = if existed { name } else { "/dev/null" };
    TextDiff::from_lines(before, after).unified_diff().context_radius(3).header(from, name).to_string()
}
