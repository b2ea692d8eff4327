//! `asgard models login`, `logout`, `whoami`. The token is never an argument, where every program could read it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use api::shapes::hub::{HubAccount, TokenPlace};
use api::{ApiError, Code};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::text::tame;
use crate::Answer;
use crate::reach;
use crate::screen::Screen;

/// A longer line is no token.
const LONGEST: u64 = 4096;

pub(super) async fn login(screen: Screen) -> Result<Answer, ApiError> {
    let token = ask(screen).await?;
    let client = reach::running_or_started(screen).await?;
    show(screen, &client.call_value("set_hub_token", json!({ "token": token })).await?)
}

pub(super) async fn logout(screen: Screen) -> Result<Answer, ApiError> {
    let client = reach::running_or_started(screen).await?;
    let document = client.call_value("remove_hub_token", json!({})).await?;
    let account: HubAccount = crate::commands::read(&document)?;
    screen.document(&document);
    screen.say(&match account.token {
        None => "Asgard has no token any more.".to_owned(),
        Some(place) => format!("Asgard's own token is gone; there is still the one {}.", where_it_is(place)),
    });
    Ok(Answer::Yes)
}

pub(super) async fn whoami(screen: Screen) -> Result<Answer, ApiError> {
    let client = reach::running_or_started(screen).await?;
    let known = client.call_value("hub_account", json!({})).await?;
    let account: HubAccount = crate::commands::read(&known)?;
    // Without a token there is nobody to ask for.
    let document = match account.token {
        None => known,
        Some(_) => client.call_value("check_hub_token", json!({})).await?,
    };
    show(screen, &document)
}

fn show(screen: Screen, document: &Value) -> Result<Answer, ApiError> {
    let account: HubAccount = crate::commands::read(document)?;
    screen.document(document);
    screen.say(&words(&account));
    let fine = account.problem.is_none() && account.token.is_some();
    Ok(if fine { Answer::Yes } else { Answer::No })
}

fn words(account: &HubAccount) -> String {
    let Some(place) = account.token else {
        return format!(
            "There is no token for {}. Add one with: asgard models login",
            tame(&account.endpoint)
        );
    };
    if let Some(problem) = &account.problem {
        return format!("{} {}", tame(&problem.message), tame(&problem.next));
    }
    let role = account.role.as_ref().map(|role| format!(", {} access", tame(role))).unwrap_or_default();
    match &account.user {
        Some(user) => format!(
            "{} at {}{role}. The token is {}.",
            tame(user),
            tame(&account.endpoint),
            where_it_is(place)
        ),
        None => format!("There is a token, {}. The Hub was not asked yet whose it is.", where_it_is(place)),
    }
}

fn where_it_is(place: TokenPlace) -> &'static str {
    match place {
        TokenPlace::Keyring => "in the keyring",
        TokenPlace::File => "in a file that only you can read",
        TokenPlace::Environment => "in HF_TOKEN",
        TokenPlace::ClientFile => "in the file of the Hub's own client",
    }
}

/// The token: typed without being shown, or the first line of a pipe.
async fn ask(screen: Screen) -> Result<String, ApiError> {
    let mut interrupts = super::super::interrupts()?;
    let shown = Echo::off();
    if shown.is_some() {
        screen.aside("Paste a token from the Hub's settings (it is not shown), then press Enter:");
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().take(LONGEST).read_line(&mut line).map(|_| line)
    });
    // The terminal is put back whatever happens: an echo that stays off is a broken terminal.
    let line = tokio::select! {
        line = read => line,
        _ = interrupts.recv() => {
            drop(shown);
            return Err(ApiError::new(Code::Cancelled, "No token was read.", ""));
        }
    };
    drop(shown);
    let line = line.ok().and_then(Result::ok).unwrap_or_default();
    let token = line.trim();
    if token.is_empty() || token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ApiError::new(
            Code::Usage,
            "That is no token.",
            "Paste it at the prompt, or pass it in: asgard models login < FILE",
        ));
    }
    Ok(token.to_owned())
}

/// The terminal without echo, until dropped. None where stdin is no terminal.
struct Echo(Termios);

impl Echo {
    fn off() -> Option<Self> {
        let stdin = io::stdin();
        let before = stdin.is_terminal().then(|| tcgetattr(&stdin).ok()).flatten()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent).ok()?;
        Some(Self(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        // The line break that was typed was not shown either.
        let _ = io::stderr().write_all(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_said_without_its_token() {
        let account = HubAccount {
            endpoint: "https://huggingface.co".to_owned(),
            token: Some(TokenPlace::Keyring),
            user: Some("ada".to_owned()),
            role: Some("read".to_owned()),
            checked: None,
            problem: None,
        };
        assert_eq!(
            words(&account),
            "ada at https://huggingface.co, read access. The token is in the keyring."
        );
        let none = HubAccount { token: None, ..account };
        assert!(words(&none).ends_with("asgard models login"));
    }
}
