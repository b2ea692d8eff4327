//! Exported stacks as docker-compose itself reads them, and each phase's files on the way through.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use exchange::{Facts, SourceFile, export_compose, import_compose};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// What docker-compose says of the files in a folder: nothing where it takes them.
fn refused(folder: &Path) -> Option<String> {
    let output = Command::new("docker-compose")
        .args(["-f", "compose.yml", "--env-file", ".env", "config", "-q"])
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .output()
        .expect("docker-compose is installed");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn export_holds(name: &str, text: &str) {
    let stack = store::stack_file::check(Path::new(name), text, 1)
        .unwrap_or_else(|problems| panic!("{name} does not hold: {problems:#?}"));
    let export = export_compose(&stack);
    let folder = tempfile::tempdir().unwrap();
    for file in &export.files {
        fs::write(folder.path().join(&file.name), &file.text).unwrap();
    }
    let said = refused(folder.path());
    assert_eq!(said, None, "{name}: docker-compose does not take\n{}", export.files[0].text);
}

#[test]
fn every_preset_is_exported_as_docker_compose_takes_it() {
    for preset in store::stack_file::presets::all() {
        export_holds(preset.name, &preset.text_scaled(1));
    }
}

#[test]
fn every_phase_is_imported_and_exported_again() {
    let fixtures = root().join("src-tauri/crates/exchange/tests/fixtures");
    let mut phases = 0;
    for phase in fs::read_dir(fixtures).unwrap().flatten() {
        let read = |path: &Path| SourceFile {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(path).unwrap(),
        };
        let mut paths: Vec<PathBuf> =
            fs::read_dir(phase.path()).unwrap().flatten().map(|e| e.path()).collect();
        paths.sort();
        let is_env = |p: &&PathBuf| p.extension().is_some_and(|e| e == "env");
        let env = paths.iter().find(is_env).map(|p| read(p));
        let files: Vec<SourceFile> = paths.iter().filter(|p| !is_env(p)).map(|p| read(p)).collect();
        let facts = Facts { capacity: Some(domain::Bytes(124 << 30)) };
        let import = import_compose(&files, env.as_ref(), &facts)
            .unwrap_or_else(|e| panic!("{}: {e} {}", phase.path().display(), e.next));
        export_holds(&phase.file_name().to_string_lossy(), &import.stack);
        phases += 1;
    }
    assert!(phases >= 6, "only {phases} phases were found");
}

#[test]
fn a_file_that_is_none_is_refused() {
    // The judge itself: a test that cannot fail would say nothing.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yml"), "services:\n  a:\n    imagge: x\n").unwrap();
    fs::write(folder.path().join(".env"), "").unwrap();
    assert!(refused(folder.path()).is_some());
}
