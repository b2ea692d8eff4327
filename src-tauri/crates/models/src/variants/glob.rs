//! Patterns of paths, as the Hub's own client takes them: `*` any characters (slashes too), `?` one, `[abc]` one of
//! these. Linear in time but for `*`, whose way back is bounded by the last one.

/// Whether `path` is what `pattern` describes. A pattern that ends in a slash means all below it.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    if let Some(folder) = pattern.strip_suffix('/') {
        return path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the path it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < path.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
        } else if let Some(next) = one(&pattern, p, path[t]) {
            p = next;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The place behind what takes `c` at `p`, if it does.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let end = pattern.iter().skip(p + 2).position(|x| *x == ']')? + p + 2;
            let (not, set) = match pattern.get(p + 1) {
                Some('!') if end > p + 2 => (true, &pattern[p + 2..end]),
                _ => (false, &pattern[p + 1..end]),
            };
            let mut i = 0;
            let mut holds = false;
            while i < set.len() {
                if i + 2 < set.len() && set[i + 1] == '-' {
                    holds |= (set[i]..=set[i + 2]).contains(&c);
                    i += 3;
                } else {
                    holds |= set[i] == c;
                    i += 1;
                }
            }
            (holds != not).then_some(end + 1)
        }
        own if *own == c => Some(p + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_those_of_the_hubs_own_client() {
        for (pattern, path) in [
            ("config.json", "config.json"),
            ("*.json", "config.json"),
            ("*.json", "a/b/config.json"),
            ("*Q4_K_M*", "x/m-Q4_K_M-00001-of-00002.gguf"),
            ("a/", "a/b/c"),
            ("model-0000[12]-*", "model-00002-of-00003.safetensors"),
            ("[!a]b", "cb"),
            ("[a-c]?", "bz"),
            ("*", ""),
            ("**", "a"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.json", "config.jsonl"),
            ("config", "config.json"),
            ("a/", "a"),
            ("a/", "ab/c"),
            ("[!a]b", "ab"),
            ("[a", "a"),
            ("", "a"),
            ("?", ""),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        // Many stars in a long path are no way to stop the program.
        assert!(!matches(&format!("{}b", "a*".repeat(50)), &"a".repeat(900)));
    }
}
