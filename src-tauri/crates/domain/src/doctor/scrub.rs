//! A text without what would tell who its owner is, or let somebody in.
//!
//! Names and secrets that are known are taken out as they are; what merely looks like a secret is taken out by its
//! shape. Too much is taken rather than too little: a report is read by a person who can ask.

/// What must not be in a report.
#[derive(Clone, Default)]
pub struct Private {
    /// Folders that become "~": the home folder, however it is written.
    pub homes: Vec<String>,
    /// Names of the user and of the machine.
    pub names: Vec<String>,
    /// Tokens, keys and values of variables, as they are.
    pub secrets: Vec<String>,
}

/// What stands for something that was taken out.
const GONE: &str = "[removed]";

/// What is shorter is no secret but a switch ("true", "auto"), and taking it out would spoil the text.
const SHORTEST: usize = 6;

/// Users that every machine has; taking these words out would only spoil the text.
const GENERIC: [&str; 6] = ["root", "user", "localhost", "nobody", "host", "localhost.localdomain"];

/// Takes out everything private.
pub fn scrub(text: &str, private: &Private) -> String {
    let mut text = text.to_owned();
    let mut secrets: Vec<&String> = private.secrets.iter().filter(|s| s.trim().len() >= SHORTEST).collect();
    // The longest first: one may hold another.
    secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
    for secret in secrets {
        text = text.replace(secret.as_str(), GONE);
    }
    let mut homes: Vec<&str> =
        private.homes.iter().map(|h| h.trim_end_matches('/')).filter(|h| h.len() > 1).collect();
    homes.sort_by_key(|h| std::cmp::Reverse(h.len()));
    for home in homes {
        text = text.replace(home, "~");
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(&words(&of_others(line)));
    }
    for name in private.names.iter().filter(|n| n.chars().count() > 1) {
        if !GENERIC.contains(&name.to_ascii_lowercase().as_str()) {
            out = without_name(&out, name);
        }
    }
    out
}

/// "/home/NAME" of anybody becomes "~".
fn of_others(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("/home/") {
        let (before, after) = rest.split_at(at);
        let after = after.get("/home/".len()..).unwrap_or_default();
        let end = after.find(|c: char| !(c.is_alphanumeric() || "._-".contains(c))).unwrap_or(after.len());
        out.push_str(before);
        out.push_str(if end == 0 { "/home/" } else { "~" });
        rest = after.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Goes through a line word by word. What follows a name such as `token` or `Authorization` is a secret whatever it
/// looks like; other words are secrets by their shape.
fn words(line: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    // After a telling name: the sign between, then the secret.
    let mut expecting = false;
    // The name was an option, or the sign an assignment: then whatever follows is the value.
    let mut surely = false;
    while let Some(c) = rest.chars().next() {
        if !is_word(c) {
            let end = rest.find(is_word).unwrap_or(rest.len());
            let (between, after) = rest.split_at(end);
            // A name and its value stand close together.
            expecting = expecting && between.len() <= 4 && !between.contains([',', ';', '\n', '/']);
            surely = surely || between.contains(['=', ':']);
            out.push_str(between);
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let follows_digest = out.ends_with("sha256:");
        if expecting && is_scheme(word) {
            out.push_str(word);
        } else if (expecting && (surely || is_value(word))) || (!follows_digest && looks_secret(word)) {
            out.push_str(GONE);
            expecting = false;
        } else if is_user_info(after) && out.ends_with("://") {
            // "https://name:password@host"
            let end = after.find('@').unwrap_or(0);
            out.push_str(GONE);
            rest = after.get(end..).unwrap_or_default();
            expecting = false;
        } else {
            expecting = is_telling(word);
            surely = word.starts_with("--");
            out.push_str(word);
        }
    }
    out
}

/// Names after which a secret follows.
fn is_telling(word: &str) -> bool {
    let word = word.trim_matches('-').to_ascii_lowercase().replace('-', "_");
    let ends = [
        "token",
        "secret",
        "password",
        "passwd",
        "api_key",
        "apikey",
        "authorization",
        "bearer",
        "access_key",
    ];
    let counts = word.ends_with("per_token");
    !counts && (ends.iter().any(|end| word.ends_with(end)) || word.ends_with("_key") || word == "key")
}

/// "Authorization: Bearer …": the scheme is not the secret.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str())
}

/// Whether a word after a telling name is its value, and not a plain word of a sentence.
fn is_value(word: &str) -> bool {
    !(word.starts_with("--") || (word.len() < 8 && word.chars().all(|c| c.is_ascii_lowercase())))
}

fn is_user_info(after: &str) -> bool {
    let end = after.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(after.len());
    after.starts_with([':', '@']) && after.get(..end).is_some_and(|a| a.contains('@'))
}

/// Tokens of known makers, and long runs of letters and digits that are no word.
fn looks_secret(word: &str) -> bool {
    const KNOWN: [&str; 11] =
        ["hf_", "sk-", "pk-", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "AKIA", "eyJ"];
    if KNOWN.iter().any(|start| word.strip_prefix(start).is_some_and(|rest| rest.len() >= 8)) {
        return true;
    }
    let longest = word.split(['-', '.', '_']).map(str::len).max().unwrap_or(0);
    let (letters, digits) = (word.chars().any(char::is_alphabetic), word.chars().any(|c| c.is_ascii_digit()));
    longest >= 32 && letters && digits
}

/// Without a name that stands as a word of its own, whatever its case.
fn without_name(text: &str, name: &str) -> String {
    let wanted: Vec<char> = name.to_lowercase().chars().collect();
    let chars: Vec<char> = text.chars().collect();
    let same = |at: usize| {
        chars.get(at..at + wanted.len()).is_some_and(|part| {
            part.iter().zip(&wanted).all(|(a, b)| a == b || a.to_lowercase().eq(std::iter::once(*b)))
        })
    };
    let apart = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_none_or(|c| !c.is_alphanumeric());
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = chars.get(at) {
        if same(at) && apart(at.checked_sub(1)) && apart(Some(at + wanted.len())) {
            out.push_str("NAME");
            at += wanted.len();
        } else {
            out.push(*c);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private() -> Private {
        Private {
            homes: vec!["/home/ada".to_owned(), "/var/home/ada/".to_owned()],
            names: vec!["ada".to_owned(), "gondor".to_owned(), "root".to_owned()],
            secrets: vec!["geheim-4711".to_owned(), "geheim".to_owned(), "auto".to_owned()],
        }
    }

    #[test]
    fn what_is_private_goes_and_the_rest_stays() {
        for (text, left) in [
            ("hub /home/ada/.cache/hf", "hub ~/.cache/hf"),
            ("/var/home/ada/models of Ada on gondor", "~/models of NAME on NAME"),
            ("adapter adamant _ada_ ada-laptop", "adapter adamant _NAME_ NAME-laptop"),
            ("/home/grace/x /home/ ", "~/x /home/ "),
            ("started by root", "started by root"),
            ("token is geheim-4711.", "token is [removed]."),
            ("dtype auto", "dtype auto"),
            ("HF_TOKEN=abc1", "HF_TOKEN=[removed]"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [removed]"),
            ("--api-key s3cr3t --port 8001", "--api-key [removed] --port 8001"),
            ("{\"password\": \"Abc9\"}", "{\"password\": \"[removed]\"}"),
            ("uses hf_aBcDeFgHiJ now", "uses [removed] now"),
            ("https://ada2:pw@example.org/x", "https://[removed]@example.org/x"),
            ("the token was refused", "the token was refused"),
            (
                "image sha256:4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a",
                "image sha256:4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a4f1c9a",
            ),
            ("docker.io/kyuz0/vllm-therock-gfx1151:latest", "docker.io/kyuz0/vllm-therock-gfx1151:latest"),
            ("Qwen3-Coder-30B-A3B-Instruct-AWQ", "Qwen3-Coder-30B-A3B-Instruct-AWQ"),
            ("id 0123456789abcdef0123456789abcdef", "id [removed]"),
            ("kv_bytes_per_token = 196608", "kv_bytes_per_token = 196608"),
            ("password=hunter", "password=[removed]"),
            ("--hf-token hunter --x", "--hf-token [removed] --x"),
            ("max_tokens = 4096", "max_tokens = 4096"),
        ] {
            assert_eq!(scrub(text, &private()), left, "{text}");
        }
    }

    #[test]
    fn signs_of_other_scripts_and_broken_lines_do_no_harm() {
        for text in
            ["", "\n\n", "ädä ada日本 token=", "token: \u{202e}", "/home/", "://@", "=====", "a\u{0}b"]
        {
            let _ = scrub(text, &private());
        }
        assert_eq!(scrub("日本 token=ß1ß", &private()), "日本 token=[removed]");
    }
}
