use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_file_keeps_its_mode_and_every_backup_stays() {
    let ground = Ground::new();
    let path = ground.file("c.jsonc", "one", 0o600);
    let first = write(&look(&path).unwrap(), "two", "asgard-1").unwrap().unwrap();
    let second = write(&look(&path).unwrap(), "three", "asgard-1").unwrap().unwrap();
    assert_eq!(ground.names(), ["c.jsonc", "c.jsonc.asgard-1-1.bak", "c.jsonc.asgard-1.bak"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "three");
    assert_eq!(
        (fs::read_to_string(&first).unwrap(), fs::read_to_string(&second).unwrap()),
        ("one".into(), "two".into())
    );
    assert_eq!((mode(&path), mode(&first), mode(&second)), (0o600, 0o600, 0o600));
}

#[test]
fn a_new_file_has_its_folders_made_and_no_backup() {
    let ground = Ground::new();
    let path = ground.path("a/b/c.jsonc");
    assert_eq!(write(&look(&path).unwrap(), "new", "s").unwrap(), None);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_link_stays_a_link() {
    let ground = Ground::new();
    fs::create_dir(ground.path("dotfiles")).unwrap();
    let real = ground.file("dotfiles/real.json", "one", 0o640);
    let link = ground.path("c.json");
    symlink("dotfiles/real.json", &link).unwrap();
    let backup = write(&look(&link).unwrap(), "two", "s").unwrap().unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("two", 0o640));
    assert_eq!(backup, ground.path("c.json.s.bak"), "beside the name that the person knows");
    assert_eq!(fs::read_dir(ground.path("dotfiles")).unwrap().count(), 1);
}

#[test]
fn what_is_no_text_file_is_refused_and_left() {
    let ground = Ground::new();
    fs::create_dir(ground.path("folder")).unwrap();
    symlink("nowhere", ground.path("dangling")).unwrap();
    symlink("circle", ground.path("circle")).unwrap();
    ground.file("large", &" ".repeat(10 << 20), 0o644);
    fs::write(ground.path("latin"), b"{\"a\": \"\xe4\"}").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        ground.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for (name, words) in [
        ("folder", "is a folder"),
        ("dangling", "a link to a file that is not there"),
        ("circle", "lead in a circle"),
        ("large", "larger than 1 MB"),
        ("latin", "no UTF-8"),
        ("pipe", "no ordinary file"),
    ] {
        let error = look(&ground.path(name)).unwrap_err();
        assert!(error.message.contains(words) && error.message.contains(name), "{error:?}");
        assert!(error.message.ends_with('.') && error.next.ends_with('.'), "{error:?}");
    }
}

/// A kill can come between any two steps: what is on the disk then is what each step leaves.
#[test]
fn after_each_step_the_old_file_or_the_new_one_is_whole() {
    let ground = Ground::new();
    let path = ground.file("c.jsonc", "the old one", 0o644);
    let found = look(&path).unwrap();
    let whole = || fs::read_to_string(&path).unwrap();
    // The guards are forgotten, as a kill forgets them.
    let staged = Writing::stage(&found, "the new one").unwrap();
    assert_eq!(whole(), "the old one");
    std::mem::forget(staged);
    let mut backed = Writing::stage(&found, "the new one").unwrap();
    let backup = backed.back_up("s").unwrap().unwrap();
    assert_eq!(
        (whole().as_str(), fs::read_to_string(&backup).unwrap().as_str()),
        ("the old one", "the old one")
    );
    std::mem::forget(backed);
    // What the killed ones left is in nobody's way.
    let mut writing = Writing::stage(&found, "the new one").unwrap();
    let second = writing.back_up("s").unwrap().unwrap();
    writing.swap().unwrap();
    drop(writing);
    assert_eq!(whole(), "the new one");
    assert_eq!(
        (fs::read_to_string(&backup).unwrap(), fs::read_to_string(&second).unwrap()),
        ("the old one".into(), "the old one".into())
    );
    assert_eq!(ground.names(), ["c.jsonc", "c.jsonc.s-1.bak", "c.jsonc.s.bak"]);
}

#[test]
fn what_changed_in_the_meantime_is_left() {
    let ground = Ground::new();
    let path = ground.file("c.jsonc", "one", 0o644);
    let found = look(&path).unwrap();
    fs::write(&path, "somebody else's").unwrap();
    assert_eq!(write(&found, "two", "s").unwrap_err().code, Code::Busy);
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");

    let new = ground.path("new.jsonc");
    let absent = look(&new).unwrap();
    fs::write(&new, "first").unwrap();
    assert_eq!(write(&absent, "second", "s").unwrap_err().code, Code::Busy);
    assert_eq!(fs::read_to_string(&new).unwrap(), "first");
}

#[test]
fn where_nothing_may_be_written_nothing_is_lost() {
    let ground = Ground::new();
    fs::create_dir(ground.path("closed")).unwrap();
    let path = ground.file("closed/c.jsonc", "one", 0o444);
    if OpenOptions::new().write(true).open(&path).is_ok() {
        // Root may write everything: then the folder is a file, which stops root as well.
        let below = path.join("deeper/c.jsonc");
        let error = look(&below).and_then(|f| write(&f, "x", "s")).unwrap_err();
        assert!(error.message.contains("cannot be"), "{error:?}");
    } else {
        let error = write(&look(&path).unwrap(), "two", "s").unwrap_err();
        assert!(error.message.contains("you may not"), "{error:?}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    assert_eq!(fs::read_dir(ground.path("closed")).unwrap().count(), 1);
}
