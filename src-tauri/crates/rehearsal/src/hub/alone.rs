//! The Hub as a program of its own, for tests and rehearsals in other processes.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use serde_json::json;

use super::content::Content;
use super::repo::{File, Repo};
use super::{Hub, catalogue};

/// | flag | does |
/// |---|---|
/// | `--port N` | 0: any free one |
/// | `--pace BYTES` | so many a second on each connection |
/// | `--file OWNER/NAME:PATH:BYTES` | a repository with one made-up file |
/// | `--many OWNER/NAME:COUNT` | a repository with so many small files |
/// | `--hostile OWNER/NAME` | one that means harm |
///
/// The last three may be given more than once, beside the rehearsal's models. Prints one line of JSON with `endpoint`,
/// `cdn` and `pid`, and goes on until its standard input is closed or it is killed.
#[expect(clippy::needless_pass_by_value, reason = "a program's arguments are handed over for good")]
pub fn main(args: Vec<OsString>) -> ExitCode {
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "The rehearsal's Hub could not start: {why}.");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[OsString]) -> Result<(), String> {
    let hub = read(args)?.start().map_err(|e| e.to_string())?;
    let line = json!({ "endpoint": hub.endpoint(), "cdn": hub.cdn(), "pid": std::process::id() });
    writeln!(std::io::stdout(), "{line}").map_err(|e| e.to_string())?;
    // Whoever started it holds the other end: it ends with them.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ok(())
}

fn read(args: &[OsString]) -> Result<Hub, String> {
    let mut hub = catalogue();
    let mut words = args.iter().map(|a| a.to_string_lossy().into_owned());
    while let Some(flag) = words.next() {
        let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let wrong = || format!("{flag} does not take {value}");
        match flag.as_str() {
            "--port" => hub.port = value.parse().map_err(|_| wrong())?,
            "--pace" => hub.pace = Some(value.parse().map_err(|_| wrong())?),
            "--file" => {
                let mut parts = value.splitn(3, ':');
                let (Some(id), Some(path), Some(size)) = (parts.next(), parts.next(), parts.next()) else {
                    return Err(wrong());
                };
                let content = Content::Seeded { size: size.parse().map_err(|_| wrong())?, seed: 7 };
                hub.repos.push(Repo::new(id, vec![File::new(path, content)]));
            }
            "--many" => {
                let (id, count) = value.split_once(':').ok_or_else(wrong)?;
                hub.repos.push(super::many(id, count.parse().map_err(|_| wrong())?));
            }
            "--hostile" => hub.repos.push(super::hostile(&value)),
            _ => return Err(format!("{flag} is not known")),
        }
    }
    Ok(hub)
}
