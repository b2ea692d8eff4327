//! The recorded machines side by side: their pools, and what of each preset fits where. The table is docs/machines.md;
//! `UPDATE=1 cargo test -p store --test machines` writes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use domain::memory::Unit;
use domain::plan::{Goal, Situation, plan};
use hardware::Machine;
use store::stack_file::check;
use store::stack_file::presets;

const HEAD: &str = "# What fits where

Every preset on every recorded machine, planned from nothing: the profiles that fit, or what the base profile lacks. The machines are constructed (each says in its README what was seen where); the table is made by `store/tests/machines.rs` and kept true by it.

";

fn machines() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware/fixtures");
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    all.sort();
    all
}

fn pools(machine: &Machine) -> String {
    let each: Vec<String> = machine
        .pools()
        .iter()
        .map(|p| {
            let unit = p.capacity.map_or(Unit::Gb, Unit::for_capacity);
            let size = p.capacity.map_or_else(|| "not known".to_owned(), |c| c.show(unit));
            let cap = p.device_cap.map(|c| format!(" (GPU at most {})", c.show(unit))).unwrap_or_default();
            format!("{} {size}{cap}", p.name)
        })
        .collect();
    each.join(", ")
}

/// "standard, odin"; or why the base profile does not.
fn verdict(preset: &presets::Preset, machine: &Machine) -> String {
    let file = PathBuf::from(format!("{}.toml", preset.name));
    let stack = check(&file, &preset.text_scaled(preset.scale), preset.scale).unwrap();
    let situation = Situation { pools: machine.pools(), ..Situation::default() };
    let planned = |profile: &str| plan(&stack, &situation, &Goal::Profile(profile.to_owned()));
    let fitting: Vec<&str> = stack
        .profiles
        .iter()
        .filter(|p| planned(&p.name).is_ok_and(|plan| plan.fits))
        .map(|p| p.name.as_str())
        .collect();
    if fitting.len() == stack.profiles.len() {
        return "all".to_owned();
    }
    if !fitting.is_empty() {
        return fitting.join(", ");
    }
    match planned(&stack.base) {
        Ok(plan) if plan.short().is_some() => plan.brief(),
        Ok(plan) => plan.reason,
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_fits_where_is_written_down() {
    let mut text = HEAD.to_owned();
    // The rehearsal's own machine and stack are in megabytes.
    let wanted: Vec<_> = presets::all().iter().filter(|p| p.scale == 1).collect();
    text.push_str("| machine | pools |");
    for p in &wanted {
        write!(text, " `{}` |", p.name).unwrap();
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(wanted.len()));
    text.push('\n');
    for path in machines() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "rehearsal" {
            continue;
        }
        let machine = Machine::new(&path);
        write!(text, "| `{name}` | {} |", pools(&machine)).unwrap();
        for p in &wanted {
            write!(text, " {} |", verdict(p, &machine)).unwrap();
        }
        text.push('\n');
    }
    let text = text.replace('\u{a0}', " ");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/machines.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(text.contains("| `four-nvidia` |"));
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), text, "write it again with UPDATE=1");
}
