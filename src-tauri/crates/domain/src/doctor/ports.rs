//! Ports of agents and the gateway, and the tray.

use super::{Check, Facts, ask, list};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![ports(facts), tray(facts)]
}

fn ports(facts: &Facts) -> Check {
    let asked = ask(
        "ports",
        "Ports",
        "Free, or held by Asgard's own",
        "Some versions of vLLM share a port that is taken, and the kernel then gives each a part of the requests.",
    );
    let ports = match &facts.ports {
        Ok(ports) => ports,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let taken: Vec<_> = ports.iter().filter_map(|p| Some((p, p.taken_by.as_deref()?))).collect();
    if taken.is_empty() {
        let mut numbers: Vec<u16> = ports.iter().map(|p| p.port).collect();
        numbers.sort_unstable();
        numbers.dedup();
        return asked.pass(list(&numbers.iter().map(u16::to_string).collect::<Vec<_>>()));
    }
    let found: Vec<String> =
        taken.iter().map(|(p, who)| format!("{} of {} is taken by {who}", p.port, p.owner)).collect();
    let look: Vec<String> =
        taken.iter().map(|(p, _)| format!("sudo ss -ltnp 'sport = :{}'", p.port)).collect();
    let tables: Vec<String> = taken
        .iter()
        .map(|(p, _)| match &p.agent {
            Some(agent) => format!("[agents.{agent}] port"),
            None => "[gateway] listen".to_owned(),
        })
        .collect();
    asked.fail(
        found.join("; "),
        format!(
            "{}\n# Stop that program, or change {} in the stack file:\nasgard config edit",
            look.join("\n"),
            list(&tables)
        ),
    )
}

fn tray(facts: &Facts) -> Check {
    let asked = ask(
        "tray",
        "Tray",
        "A desktop that shows tray icons; not needed",
        "With one, profiles are a click away without the window.",
    );
    match &facts.tray {
        Err(reason) => asked.skip(reason.clone()),
        Ok(true) => asked.pass("The desktop shows tray icons"),
        Ok(false) => {
            asked.skip("This desktop shows no tray icons; on GNOME the extension AppIndicator adds them.")
        }
    }
}
