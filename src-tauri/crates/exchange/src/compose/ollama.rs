//! An Ollama daemon among the services: the models that the `.env` names for it.

use super::merge::Service;
use super::values::{pairs, port, texts};
use crate::env::Vars;
use crate::finish::Household;
use crate::report::{Place, Report};

const PORT: u16 = 11_434;

pub(super) fn is_ollama(service: &Service, words: &[String]) -> bool {
    let image = service.node.get("image").and_then(|i| i.text()).unwrap_or_default();
    let serves = words.windows(2).any(|w| w[0].ends_with("ollama") && w[1] == "serve");
    let bare =
        words.is_empty() && (image.contains("ollama/ollama") || service.name.eq_ignore_ascii_case("ollama"));
    serves || bare || (image.contains("ollama") && words.first().is_some_and(|w| w == "serve"))
}

pub(super) fn read(service: &Service, vars: &mut Vars<'_>, house: &mut Household, report: &mut Report) {
    let what = format!("services.{}", service.name);
    let place = Place::at(&service.file, service.node.line);
    let environment = service.node.get("environment").map(|e| pairs(e)).unwrap_or_default();
    let listens = environment.iter().find(|(key, _, _)| key == "OLLAMA_HOST").and_then(|(_, value, _)| {
        value.as_deref()?.rsplit(':').next()?.parse::<u16>().ok().filter(|p| *p > 0)
    });
    let published = service
        .node
        .get("ports")
        .and_then(|p| p.list())
        .and_then(|list| {
            list.iter().filter_map(|n| port(n)).find(|(_, inside)| *inside == listens.unwrap_or(PORT))
        })
        .map(|(host, _)| host);
    let endpoint = format!("http://127.0.0.1:{}", published.or(listens).unwrap_or(PORT));
    let before = house.agents.len();
    house.agents.extend(vars.ollama(&endpoint, report));
    if house.agents.len() == before {
        report.not_understood(
            &place,
            None,
            &what,
            "An Ollama daemon, and nothing here names its models. While it runs, Asgard finds it with its models and \
             offers them.",
        );
    } else {
        report.understood(
            &place,
            None,
            &what,
            "The Ollama daemon is used as it is: Asgard loads and unloads its models, and never starts or stops it.",
        );
    }
    for (key, value, line) in environment {
        let at = format!("{what}.environment.{key}");
        let place = Place::at(&service.file, line);
        if crate::report::is_secret_name(&key) {
            report.secret(&place, None, &key, value.as_deref().unwrap_or_default());
        } else {
            report.understood(&place, None, &at, "A setting of the Ollama daemon, which is used as it is.");
        }
    }
    let unsafe_network =
        service.node.get("network_mode").is_some_and(|n| texts(n).iter().any(|t| t == "host"));
    if unsafe_network {
        report.not_understood(
            &place,
            None,
            &format!("{what}.network_mode"),
            "The daemon is on the host's network and may be reached from other machines. Asgard leaves it so: set \
             OLLAMA_HOST to 127.0.0.1 there.",
        );
    }
}
