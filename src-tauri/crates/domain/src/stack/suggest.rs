//! "Did you mean": the nearest of the names that would have been right.

use super::quantity::quoted;

/// A sentence that names the nearest of `known`, or all of them where none is near.
pub(super) fn instead_of<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = known
        .clone()
        .map(|k| (distance(written, k), k))
        .filter(|(d, k)| *d <= (k.chars().count() / 3).clamp(1, 3))
        .min_by_key(|(d, _)| *d);
    if let Some((_, name)) = near {
        return format!("Did you mean {}?", quoted(name));
    }
    let all: Vec<String> = known.map(quoted).collect();
    match all.as_slice() {
        [] => "There is none to name yet; add one first.".to_owned(),
        [one] => format!("Write {one}, the only one there is."),
        [first @ .., last] => format!("Write one of {} and {last}.", first.join(", ")),
    }
}

/// Edits between two words: insert, delete, replace, and swap of neighbours; case is free.
fn distance(a: &str, b: &str) -> usize {
    // A word of this length is nobody's typing error, and the table stays small.
    let a: Vec<char> = a.chars().take(64).flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().take(64).flat_map(char::to_lowercase).collect();
    let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in table.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in table[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = best;
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["thor", "valkyrie", "odin"];
        let of = |w: &str| instead_of(w, known.iter().copied());
        assert_eq!(of("Odin"), "Did you mean \"odin\"?");
        assert_eq!(of("odni"), "Did you mean \"odin\"?");
        assert_eq!(of("valkirye"), "Did you mean \"valkyrie\"?");
        assert_eq!(of("loki"), "Write one of \"thor\", \"valkyrie\" and \"odin\".");
        assert_eq!(instead_of("x", std::iter::empty()), "There is none to name yet; add one first.");
    }

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
