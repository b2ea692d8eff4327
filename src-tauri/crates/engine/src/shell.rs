//! A launch as a command that a person can read and copy. Secrets are never in it.

use std::path::Path;

use crate::backend::flags::shown_env;
use crate::container::container_name;
use crate::launch::{Launch, Program};

const HIDDEN: &str = "****";
const NEXT: &str = " \\\n  ";

/// The whole command: for a container with the engine around it ("docker" and "podman" are written as their own
/// command lines, anything else as Docker), for a program of this machine with its variables before it.
pub fn command_text(launch: &Launch, engine: &str) -> String {
    let env: Vec<String> = shown_env(launch)
        .into_iter()
        .map(|(name, value)| format!("{name}={}", value.unwrap_or_else(|| HIDDEN.to_owned())))
        .collect();
    let lines = match &launch.program {
        Program::Local { command, .. } => {
            let mut lines: Vec<String> = env.iter().map(|pair| assignment(pair)).collect();
            lines.push(words(command));
            lines
        }
        Program::Image { .. } => container(launch, engine, &env),
    };
    lines
        .into_iter()
        .chain(pairs(&launch.args))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(NEXT)
}

/// The lines up to the image's own arguments.
fn container(launch: &Launch, engine: &str, env: &[String]) -> Vec<String> {
    let Program::Image {
        image,
        devices,
        groups,
        mounts,
        host_ipc,
        shm_bytes,
        seccomp_unconfined,
        entrypoint,
        nvidia,
        ..
    } = &launch.program
    else {
        return Vec::new();
    };
    let podman = engine == "podman";
    let name = container_name(&launch.agent, &launch.identity);
    let mut lines = vec![
        format!("{} run --rm --init --name {}", if podman { "podman" } else { "docker" }, quote(&name)),
        format!("-p 127.0.0.1:{0}:{0}", launch.port),
        if *host_ipc { "--ipc host".to_owned() } else { format!("--ipc private --shm-size {shm_bytes}") },
        "--security-opt no-new-privileges".to_owned(),
    ];
    if *seccomp_unconfined {
        lines.push("--security-opt seccomp=unconfined".to_owned());
    }
    lines.extend(devices.iter().map(|device| format!("--device {}", quote(device))));
    if podman && !groups.is_empty() {
        lines.push("--group-add keep-groups".to_owned());
    } else {
        lines.extend(groups.iter().map(|group| format!("--group-add {group}")));
    }
    match nvidia.as_deref() {
        None => {}
        Some([]) if podman => lines.push("--device nvidia.com/gpu=all".to_owned()),
        Some(cards) if podman => {
            lines.extend(cards.iter().map(|card| format!("--device nvidia.com/gpu={}", quote(card))));
        }
        Some([]) => lines.push("--gpus all".to_owned()),
        Some(cards) => lines.push(format!("--gpus {}", quote(&format!("\"device={}\"", cards.join(","))))),
    }
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    lines.extend(mounts.iter().map(|mount| {
        let access = if mount.read_only { ":ro" } else { "" };
        format!("-v {}", quote(&format!("{}:{}{access}", shown(&mount.source), mount.target)))
    }));
    lines.extend(env.iter().map(|pair| format!("-e {}", quote(pair))));
    if let Some(program) = entrypoint.as_deref().and_then(<[String]>::first) {
        lines.push(format!("--entrypoint {}", quote(program)));
    }
    lines.push(quote(image));
    lines
}

/// A flag with its values on one line each.
fn pairs(args: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in args {
        let flag = word.starts_with('-') && !word[1..].starts_with(|c: char| c.is_ascii_digit());
        match lines.last_mut() {
            Some(line) if !flag => {
                line.push(' ');
                line.push_str(&quote(word));
            }
            _ => lines.push(quote(word)),
        }
    }
    lines
}

fn words(all: &[String]) -> String {
    all.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// `NAME='a value'`: with the name outside of the quotes, or a shell takes it for a command.
fn assignment(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, value)) => format!("{name}={}", quote(value)),
        None => quote(pair),
    }
}

/// As a shell reads it as one word, without anything in it taking effect.
fn quote(word: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '=' | ',' | '@' | '+' | '%')
    };
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_word_takes_effect() {
        assert_eq!(quote("a/b:c=1"), "a/b:c=1");
        assert_eq!(quote("$(id)"), "'$(id)'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
        assert_eq!(assignment("A=b c"), "A='b c'");
        assert_eq!(quote("****"), "'****'");
    }

    #[test]
    fn a_flag_stands_with_its_values() {
        let args = ["serve", "a/b", "--x", "1", "2", "--y", "-1"].map(str::to_owned);
        assert_eq!(pairs(&args), ["serve a/b", "--x 1 2", "--y -1"]);
    }
}
