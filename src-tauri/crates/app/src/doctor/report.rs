//! A text to send to somebody who helps. It is put together first and cleaned as a whole afterwards, so that nothing
//! that is added here can slip past.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use api::shapes::doctor::DoctorReport;
use domain::doctor::{Check, Facts, Private, checks, scrub};
use domain::memory::{Bytes, Unit};
use domain::plan::{Goal, plan};
use domain::pool::Ledger;
use jiff::Timestamp;
use store::stack_file::shareable;

use super::{Place, look, private};

/// Of the log, the last lines, and at most so many bytes of them.
const LINES: usize = 200;
const LOG_BYTES: u64 = 128 * 1024;

pub(super) async fn of(place: &Place, facts: &Facts, variables: Vec<(OsString, OsString)>) -> DoctorReport {
    let now = Timestamp::now();
    let name = format!("asgard-report-{}.md", now.strftime("%Y%m%d-%H%M%S"));
    let (paths, scale) = (place.paths.clone(), place.scale);
    let read = look("Asgard's folders", move || {
        let text = store::stack_file::load(&paths.stack_file(), scale).text;
        let shared = shareable(&text);
        let secrets = shared.as_ref().map(|s| s.secrets.clone()).unwrap_or_default();
        // A text that cannot be taken apart is left out whole.
        let stack = shared.map(|s| s.text);
        (stack, tail(&paths.log_file()), private::gather(&paths, variables.into_iter(), secrets))
    });
    let (stack, log, private) = read.await.unwrap_or_else(|_| (None, None, Private::default()));
    let text =
        compose(facts, &now.strftime("%Y-%m-%d %H:%M UTC").to_string(), stack.as_deref(), log.as_deref());
    DoctorReport { name, text: scrub(&text, &private) }
}

fn compose(facts: &Facts, time: &str, stack: Option<&str>, log: Option<&str>) -> String {
    let mut text = format!(
        "# Asgard report\n\n{time}. Names, the home folder, keys and tokens were taken out; read it before you send it.\n"
    );
    section(&mut text, "Versions", &versions(facts));
    section(&mut text, "Checks", &check_table(&checks(facts)));
    section(&mut text, "Memory", &pool_table(facts));
    section(&mut text, "Plans", &plan_table(facts));
    let stack = stack.map_or_else(
        || "The stack file is not TOML, so it was left out.\n".to_owned(),
        |stack| fenced("toml", stack),
    );
    section(&mut text, "Stack", &stack);
    let log = log.map_or_else(|| "There is none.\n".to_owned(), |log| fenced("", log));
    section(&mut text, "The last lines of the log", &log);
    text.replace('\u{a0}', " ")
}

fn section(text: &mut String, title: &str, body: &str) {
    let _ = write!(text, "\n## {title}\n\n{body}");
}

/// Longer fences than any in the text.
fn fenced(language: &str, body: &str) -> String {
    let mut fence = "```".to_owned();
    while body.contains(&fence) {
        fence.push('`');
    }
    format!("{fence}{language}\n{}\n{fence}\n", body.trim_matches('\n'))
}

fn row(cells: &[&str]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .map(|c| c.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|"))
        .collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table(head: &[&str], rows: impl Iterator<Item = String>) -> String {
    let rule: Vec<&str> = head.iter().map(|_| "---").collect();
    format!("{}{}{}", row(head), row(&rule), rows.collect::<String>())
}

fn versions(facts: &Facts) -> String {
    let unknown = || "not known".to_owned();
    let engine = facts
        .engine
        .as_ref()
        .map_or_else(Clone::clone, |e| format!("{} {}", e.kind, e.version.clone().unwrap_or_else(unknown)));
    let mut rows = vec![
        row(&["Asgard", env!("CARGO_PKG_VERSION")]),
        row(&["Kernel", facts.kernel.release.as_deref().unwrap_or("not known")]),
        row(&["Distribution", &format!("{:?}", facts.distribution)]),
        row(&["Engine", &engine]),
    ];
    let images = facts.images.as_ref().map(Vec::as_slice).unwrap_or_default();
    rows.extend(images.iter().map(|i| row(&[&i.reference, i.version.as_deref().unwrap_or("not known")])));
    table(&["What", "Version"], rows.into_iter())
}

fn check_table(checks: &[Check]) -> String {
    let rows = checks.iter().map(|c| row(&[&c.id, c.status.word(), &c.found, &c.wanted]));
    table(&["Check", "Status", "Found", "Wanted"], rows)
}

fn pool_table(facts: &Facts) -> String {
    let stack = facts.stack.as_ref().ok();
    let rows = facts.situation.pools.iter().map(|pool| {
        let unit = pool.capacity.map(Unit::for_capacity).unwrap_or_default();
        let show = |bytes: Option<Bytes>| bytes.map_or_else(|| "not known".to_owned(), |b| b.show(unit));
        let wished = stack.and_then(|s| s.memory.for_pool(&pool.id));
        let limit = pool.capacity.map(|c| Ledger::limit_for(pool.kind, c, wished));
        let lost = facts.situation.lost.get(&pool.id).copied().unwrap_or_default();
        row(&[
            &pool.name,
            &show(pool.capacity),
            &show(limit),
            &show(Some(pool.used)),
            &show(pool.device_cap),
            &show(pool.device_used),
            &show(Some(lost)),
        ])
    });
    table(&["Pool", "Capacity", "Limit", "Used", "GPU's cap", "Used by the GPU", "Lost"], rows)
}

fn plan_table(facts: &Facts) -> String {
    let Ok(stack) = &facts.stack else { return "The stack file does not hold.\n".to_owned() };
    let rows = stack.profiles.iter().map(|profile| {
        match plan(stack, &facts.situation, &Goal::Profile(profile.name.clone())) {
            Err(error) => row(&[&profile.name, "not known", &error.to_string(), ""]),
            Ok(plan) => {
                let pools = plan.pools.iter().map(|p| {
                    let unit = Unit::for_capacity(p.ledger.capacity);
                    format!(
                        "{}: {} planned, at most {}",
                        p.ledger.name,
                        p.planned.show(unit),
                        p.peak.show(unit)
                    )
                });
                let fits = if plan.fits { "yes" } else { "no" };
                row(&[&profile.name, fits, &plan.reason, &pools.collect::<Vec<_>>().join("; ")])
            }
        }
    });
    table(&["Profile", "Fits", "Why", "Pools"], rows)
}

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    // The first one may have lost its beginning.
    let from = lines.len().saturating_sub(LINES).max(usize::from(length > LOG_BYTES));
    Some(lines.get(from..).unwrap_or_default().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_break_out_of_its_place() {
        assert_eq!(fenced("", "a\n```\nb"), "````\na\n```\nb\n````\n");
        assert_eq!(row(&["a|b\nc"]), "| a\\|b c |\n");
    }

    #[test]
    fn of_a_long_log_the_last_whole_lines_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("asgard.log");
        assert_eq!(tail(&file), None);
        std::fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(tail(&file).as_deref(), Some("one\ntwo"));
        let long: String = (0..20_000).map(|n| format!("line {n} of many\n")).collect();
        std::fs::write(&file, long).unwrap();
        let last = tail(&file).unwrap();
        assert_eq!(last.lines().count(), LINES);
        assert!(last.ends_with("line 19999 of many") && last.starts_with("line 19800 "));
    }
}
