//! Fuzz targets for what is imported: compose files, `.env`, stack files of others.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

#[path = "../../../../tests/fuzzing/mod.rs"]
mod fuzzing;

use std::sync::LazyLock;

use exchange::{Facts, SourceFile, import_compose, import_env, import_stack};
use fuzzing::{Count, MOST_EDITS, SHORT, input};

/// The fixtures with this ending.
fn whole(ending: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no fixture ends in {ending}");
    found.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn file(name: &str, bytes: &[u8]) -> SourceFile {
    SourceFile { name: name.to_owned(), text: String::from_utf8_lossy(bytes).into_owned() }
}

#[test]
fn compose_files() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| whole(".yml"));
    static ENV: LazyLock<SourceFile> = LazyLock::new(|| file(".env", &whole(".env")[0]));
    static COUNT: Count = Count::of("compose files");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let compose = [file("compose.yml", &input(&WHOLE, edits))];
        COUNT.try_one(|| import_compose(&compose, Some(&ENV), &Facts::default()).is_ok());
    });
    COUNT.finish();
}

#[test]
fn env_files() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| whole(".env"));
    static COUNT: Count = Count::of(".env");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let env = file(".env", &input(&WHOLE, edits));
        COUNT.try_one(|| import_env(&env, &Facts::default()).is_ok());
    });
    COUNT.finish();
}

#[test]
fn stack_files_of_others() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        // What an import writes is what somebody else would send.
        let compose = [file("compose.yml", &whole("phase-6/hybrid.yml")[0])];
        let env = file(".env", &whole("phase-6/strix.env")[0]);
        vec![import_compose(&compose, Some(&env), &Facts::default()).unwrap().stack.into_bytes()]
    });
    static COUNT: Count = Count::of("stack files");
    assert!(import_stack(&file("stack.toml", &WHOLE[0])).is_ok(), "edits begin with a stack that is read");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let stack = file("stack.toml", &input(&WHOLE, edits));
        COUNT.try_one(|| import_stack(&stack).is_ok());
    });
    COUNT.finish();
}
