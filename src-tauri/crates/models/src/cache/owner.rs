//! Whose files are in the cache. Containers that run as root leave files there that the user can neither finish nor
//! remove.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Who looks at the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl User {
    pub fn current() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: rustix::process::getgroups()
                .unwrap_or_default()
                .into_iter()
                .map(rustix::process::Gid::as_raw)
                .collect(),
        }
    }

    /// Whether this file is somebody else's, and not for this user to change. By the mode alone: lists of access rights
    /// are not read.
    pub(super) fn is_kept_out(&self, of: &Metadata) -> bool {
        if self.uid == 0 || of.uid() == self.uid {
            return false;
        }
        let by_group = (of.gid() == self.gid || self.groups.contains(&of.gid())) && of.mode() & 0o020 != 0;
        !by_group && of.mode() & 0o002 == 0
    }
}

/// What of a repository belongs to somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Foreign {
    /// Files and folders.
    pub count: usize,
    /// User ids, each once.
    pub owners: Vec<u32>,
    /// The folders that hold them, as they are given to `chown`.
    pub folders: Vec<PathBuf>,
}

impl Foreign {
    pub(super) fn note(&mut self, metadata: &Metadata, folder: &Path) {
        self.count += 1;
        if !self.owners.contains(&metadata.uid()) {
            self.owners.push(metadata.uid());
        }
        if !self.folders.iter().any(|known| known == folder) {
            self.folders.push(folder.to_path_buf());
        }
    }

    /// What that is, in a sentence or two.
    pub fn message(&self) -> String {
        let who = match self.owners.as_slice() {
            [0] => "root, as containers leave them".to_owned(),
            [one] => format!("another user ({one})"),
            _ => "other users".to_owned(),
        };
        let what = match self.count {
            1 => "One of its files belongs".to_owned(),
            n => format!("{n} of its files and folders belong"),
        };
        format!("{what} to {who}. Asgard can neither finish nor remove them.")
    }

    /// The command that mends it.
    pub fn command(&self, user: &User) -> String {
        let folders: Vec<String> = self.folders.iter().map(|f| quoted(&f.to_string_lossy())).collect();
        format!("sudo chown -R {}:{} {}", user.uid, user.gid, folders.join(" "))
    }
}

/// One word for a shell, whatever is in it.
pub fn quoted(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '=' | ':' | '@');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    // Within quotes a line break would still end the line that a person copies.
    if text.chars().any(char::is_control) {
        let escaped: String = text
            .chars()
            .map(|c| match c {
                '\\' => "\\\\".to_owned(),
                '\'' => "\\'".to_owned(),
                c if c.is_control() => {
                    c.to_string().bytes().map(|b| format!("\\x{b:02x}")).collect::<String>()
                }
                c => c.to_string(),
            })
            .collect();
        return format!("$'{escaped}'");
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for path in
            ["/a/b", "/a b/c", "/a'b", "/$(touch x)", "/a\nrm -rf b", "-rf", "/`id`\"\\", "/ü;&|", "/a\t\\'"]
        {
            let line = format!("printf %s {}", quoted(path));
            let said = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&said.stdout),
                if path == "-rf" { "-rf" } else { path },
                "{line}"
            );
            assert!(!line.contains('\n'), "{line:?}");
        }
    }

    #[test]
    fn what_others_own_is_kept_from_a_user_and_not_from_root() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = std::fs::metadata(folder.path()).unwrap();
        let own = metadata.uid();
        let user = |uid| User { uid, gid: 54_321, groups: Vec::new() };
        assert!(!user(own).is_kept_out(&metadata));
        assert!(!user(0).is_kept_out(&metadata));
        assert!(user(own + 1).is_kept_out(&metadata));
        let mut foreign = Foreign::default();
        foreign.note(&metadata, Path::new("/h/it's here"));
        foreign.owners = vec![0];
        assert!(foreign.message().starts_with("One of its files belongs to root"), "{}", foreign.message());
        assert_eq!(foreign.command(&user(1000)), "sudo chown -R 1000:54321 '/h/it'\\''s here'");
    }
}
