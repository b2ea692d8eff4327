//! `asgard doctor`: whether this machine is ready, and what to do where it is not. Nothing is changed by it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use api::shapes::doctor::{Doctor, DoctorCheck, DoctorReport, DoctorStatus};
use api::{ApiError, Code};
use serde_json::{Value, json};

use crate::screen::Screen;
use crate::words::plain;
use crate::{Answer, place, reach};

pub(super) async fn run(screen: Screen, report: Option<&Path>) -> Result<Answer, ApiError> {
    if let Some(file) = report.filter(|f| f.symlink_metadata().is_ok()) {
        return Err(exists(file));
    }
    let document = match of_the_controller("doctor").await? {
        Some(document) => document,
        None => document(&app::offline_doctor(&options()?).await)?,
    };
    let doctor: Doctor = super::read(&document)?;
    if screen.json {
        screen.document(&document);
    } else {
        screen.piece(&render(&doctor));
    }
    if let Some(file) = report {
        let made: DoctorReport = match of_the_controller("doctor_report").await? {
            Some(answer) => super::read(&answer)?,
            None => app::offline_report(&options()?).await,
        };
        write(file, &made.text)?;
        screen.aside(&format!(
            "The report is in {}. Names, the home folder, keys and tokens were taken out; read it before you send it.",
            file.display()
        ));
    }
    let failed = doctor.checks.iter().any(|c| c.status == DoctorStatus::Fail);
    Ok(if failed { Answer::No } else { Answer::Yes })
}

fn options() -> Result<app::Options, ApiError> {
    place::options(place::paths(false)?, false, false)
}

fn document(doctor: &Doctor) -> Result<Value, ApiError> {
    serde_json::to_value(doctor)
        .map_err(|error| ApiError::new(Code::Failed, format!("The answer cannot be written: {error}."), ""))
}

/// `None` where none runs, where it is of another version that does not know the question, or where another machine is
/// asked about.
async fn of_the_controller(question: &str) -> Result<Option<Value>, ApiError> {
    if std::env::var_os("ASGARD_SYSROOT").is_some() {
        return Ok(None);
    }
    let client = match reach::running().await {
        Ok(client) => client,
        Err(error) if error.code == Code::Unreachable => return Ok(None),
        Err(error) => return Err(error),
    };
    match client.call_value(question, json!({})).await {
        Err(error) if error.code == Code::Usage => Ok(None),
        answer => answer.map(Some),
    }
}

fn exists(file: &Path) -> ApiError {
    ApiError::new(
        Code::Usage,
        format!("{} exists already, and is left as it is.", file.display()),
        "Name a file that does not exist yet.",
    )
}

fn write(file: &Path, text: &str) -> Result<(), ApiError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|mut f| f.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(file),
        _ => ApiError::new(
            Code::Failed,
            format!("{} cannot be written: {error}.", file.display()),
            "Name a file in a folder of yours that has room.",
        ),
    })
}

/// What is to be mended first, then what is advised, each with its reason and its fix; then a line for each that
/// passed, and one for each that nothing can be said of.
fn render(doctor: &Doctor) -> String {
    let of = |status| doctor.checks.iter().filter(move |c: &&DoctorCheck| c.status == status);
    let mut text = String::new();
    for (status, word) in [(DoctorStatus::Fail, "To fix"), (DoctorStatus::Warn, "Advised")] {
        for check in of(status) {
            let _ = writeln!(text, "{word}: {}", check.title);
            let _ = writeln!(text, "  found   {}", check.found);
            let _ = writeln!(text, "  wanted  {}", check.wanted);
            let _ = writeln!(text, "  {}", check.why);
            for line in check.fix.iter().flat_map(|fix| fix.lines()) {
                let _ = writeln!(text, "      {line}");
            }
            text.push('\n');
        }
    }
    for (status, word) in [(DoctorStatus::Pass, "ok"), (DoctorStatus::Skip, "--")] {
        for check in of(status) {
            let _ = writeln!(text, "{word}  {}: {}", check.title, check.found);
        }
    }
    let count = |status| of(status).count();
    let _ = writeln!(
        text,
        "\n{} to fix, {} advised, {} passed, {} not looked at.",
        count(DoctorStatus::Fail),
        count(DoctorStatus::Warn),
        count(DoctorStatus::Pass),
        count(DoctorStatus::Skip)
    );
    plain(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, status: &str, fix: &Value) -> Value {
        json!({ "id": id, "title": id, "status": status, "found": "8.0\u{a0}GB", "wanted": "more",
                "why": "Because.", "fix": fix })
    }

    #[test]
    fn a_pass_is_one_line_and_the_rest_says_why_and_how() {
        let doctor = serde_json::from_value(json!({ "checks": [
            check("kernel", "pass", &Value::Null),
            check("swap", "warn", &json!("one\ntwo")),
            check("tray", "skip", &Value::Null),
            check("kfd", "fail", &json!("sudo modprobe amdgpu")),
        ]}));
        let expected = "\
To fix: kfd
  found   8.0 GB
  wanted  more
  Because.
      sudo modprobe amdgpu

Advised: swap
  found   8.0 GB
  wanted  more
  Because.
      one
      two

ok  kernel: 8.0 GB
--  tray: 8.0 GB

1 to fix, 1 advised, 1 passed, 1 not looked at.
";
        assert_eq!(render(&doctor.unwrap()), expected);
    }

    #[test]
    fn a_report_is_written_once_and_for_its_owner_alone() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.md");
        write(&file, "text").unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let error = write(&file, "other").unwrap_err();
        assert_eq!((error.exit_code(), std::fs::read_to_string(&file).unwrap().as_str()), (2, "text"));
        assert_eq!(write(&folder.path().join("no/such"), "x").unwrap_err().exit_code(), 1);
    }
}
