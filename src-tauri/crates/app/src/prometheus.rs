//! What `/metrics` answers: Prometheus' text format, version 0.0.4.
//!
//! Names that begin with `bifrost` are about requests, those that begin with `asgard` about agents and memory.
//! Deliberately absent: what the agents' own servers say of themselves. Prometheus asks those itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::agent::{AgentName, AgentState};

use crate::record::{Histogram, Recorder};
use crate::state::State;
use crate::view;

const STATES: [AgentState; 9] = [
    AgentState::Asleep,
    AgentState::Pulling,
    AgentState::Starting,
    AgentState::Loading,
    AgentState::Ready,
    AgentState::Busy,
    AgentState::Draining,
    AgentState::Stopping,
    AgentState::Failed,
];

/// The whole text. `summons`: how often tools have woken each agent; counts may begin anew.
pub(crate) fn text(state: &State, recorder: &Recorder, summons: &BTreeMap<AgentName, u32>) -> String {
    let mut text = Text::default();
    requests(&mut text, state, recorder);
    agents(&mut text, state, summons);
    pools(&mut text, state);
    text.family("asgard_build_info", "gauge", "Always 1; the version of Asgard is in the label.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.family("asgard_start_time_seconds", "gauge", "When this controller started, since 1970.");
    text.sample(&[], state.started.as_second() as f64);
    text.out
}

fn requests(text: &mut Text, state: &State, recorder: &Recorder) {
    let counters = recorder.counters();
    let crowd = recorder.crowd();
    text.family(
        "bifrost_requests_total",
        "counter",
        "Requests that ended, by agent (empty where none was named), client and outcome.",
    );
    for ((agent, client, outcome), count) in &counters.requests {
        let agent = agent.as_ref().map_or("", AgentName::as_str);
        text.sample(&[("agent", agent), ("client", client), ("outcome", outcome.word())], *count as f64);
    }
    text.family("bifrost_refused_total", "counter", "Requests that the gateway refused, by HTTP status.");
    for (status, count) in &counters.refused {
        text.sample(&[("status", &status.to_string())], *count as f64);
    }
    text.family("bifrost_tokens_total", "counter", "Tokens of the requests that ended.");
    for (agent, of) in &counters.by_agent {
        text.sample(&[("agent", agent.as_str()), ("kind", "prompt")], of.prompt_tokens as f64);
        text.sample(&[("agent", agent.as_str()), ("kind", "completion")], of.completion_tokens as f64);
    }
    text.family("bifrost_queue_seconds", "histogram", "From a request to its agent's lease.");
    for (agent, of) in &counters.by_agent {
        text.histogram(agent, &of.queued);
    }
    text.family("bifrost_first_token_seconds", "histogram", "From the lease to the first token.");
    for (agent, of) in &counters.by_agent {
        text.histogram(agent, &of.first_token);
    }
    text.family("bifrost_request_seconds", "histogram", "From a request to the end of its answer.");
    for (agent, of) in &counters.by_agent {
        text.histogram(agent, &of.took);
    }
    text.family("bifrost_waiting", "gauge", "Requests that wait for an agent.");
    for agent in &state.stack.agents {
        let waiting = crowd.get(&agent.name).map_or(0, |(waiting, _)| *waiting);
        text.sample(&[("agent", agent.name.as_str())], f64::from(waiting));
    }
    text.family("bifrost_leases", "gauge", "Requests that have their agent, by its server.");
    for agent in state.agents.keys() {
        let leases = state.leases.get(agent).copied().unwrap_or(0);
        text.sample(&[("agent", agent.as_str())], f64::from(leases));
    }
    text.family(
        "bifrost_record_lost_total",
        "counter",
        "Rows of the request record that the database did not take.",
    );
    text.sample(&[], recorder.lost() as f64);
}

fn agents(text: &mut Text, state: &State, summons: &BTreeMap<AgentName, u32>) {
    text.family("asgard_agent_state", "gauge", "1 for the state that the agent is in, 0 for the others.");
    for agent in &state.stack.agents {
        let now = state.live(&agent.name).map_or(AgentState::Asleep, |live| live.state);
        for one in STATES {
            let labels = [("agent", agent.name.as_str()), ("state", &*one.to_string())];
            text.sample(&labels, f64::from(u8::from(one == now)));
        }
    }
    text.family(
        "asgard_agent_tokens_per_second",
        "gauge",
        "Tokens that the agent's server writes in a second, of all its requests.",
    );
    for (name, live) in &state.agents {
        if let Some(speed) = live.figures.tokens_per_second.filter(|_| live.state.answers()) {
            text.sample(&[("agent", name.as_str())], speed);
        }
    }
    text.family("asgard_summons_total", "counter", "How often tools have woken the agent in this session.");
    for agent in state.agents.keys() {
        let count = summons.get(agent).copied().unwrap_or(0);
        text.sample(&[("agent", agent.as_str())], f64::from(count));
    }
}

fn pools(text: &mut Text, state: &State) {
    let pools = view::pools(state);
    text.family("asgard_agent_memory_bytes", "gauge", "What an agent holds of a pool.");
    for pool in &pools {
        for agent in &pool.agents {
            let mut of = |kind, bytes: u64| {
                let labels = [("agent", agent.agent.as_str()), ("pool", &*pool.id), ("kind", kind)];
                text.sample(&labels, bytes as f64);
            };
            of("reserved", agent.reserved_bytes);
            if let Some(measured) = agent.measured_bytes {
                of("measured", measured);
            }
        }
    }
    text.family("asgard_pool_bytes", "gauge", "Memory, by the words of Asgard's status.");
    for pool in &pools {
        let figures = [
            ("capacity", pool.capacity_bytes),
            ("limit", pool.limit_bytes),
            ("device_cap", pool.device_cap_bytes),
            ("used", Some(pool.used_bytes)),
            ("device_used", pool.device_used_bytes),
            ("other", Some(pool.other_bytes)),
            ("lost", Some(pool.lost_bytes)),
            ("available", Some(pool.available_bytes)),
        ];
        for (kind, bytes) in figures.into_iter().filter_map(|(kind, bytes)| Some((kind, bytes?))) {
            text.sample(&[("pool", &*pool.id), ("kind", kind)], bytes as f64);
        }
    }
}

/// The text as it grows. A family is begun with its first sample, so that none without any is shown.
#[derive(Default)]
struct Text {
    out: String,
    name: &'static str,
    header: Option<String>,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.header = Some(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, value);
    }

    fn histogram(&mut self, agent: &AgentName, of: &Histogram) {
        let agent = ("agent", agent.as_str());
        for (bound, count) in of.buckets() {
            self.line("_bucket", &[agent, ("le", &number(bound))], count as f64);
        }
        self.line("_bucket", &[agent, ("le", "+Inf")], of.count as f64);
        self.line("_sum", &[agent], of.sum);
        self.line("_count", &[agent], of.count as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        if let Some(header) = self.header.take() {
            self.out.push_str(&header);
        }
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        for (n, (name, value)) in labels.iter().enumerate() {
            // Writing into a text cannot fail.
            let _ = write!(self.out, "{}{name}=\"{}\"", if n == 0 { '{' } else { ',' }, escaped(value));
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {}", number(value));
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, written and read back")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use bifrost::Outcome;
    use jiff::Timestamp;
    use store::database::Database;

    use super::*;
    use crate::reading::Look;
    use crate::record::tests::record;
    use crate::state::{Event, StackSource};

    /// A sample as it is read back: its name, its labels, its value.
    type Sample = (String, BTreeMap<String, String>, f64);

    /// Reads the format as strictly as it is written down, with the rules that promtool checks: every sample belongs
    /// to the family begun before it, no family comes twice, no series comes twice, histograms are whole.
    fn read(text: &str) -> Vec<Sample> {
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        };
        let (mut family, mut kind) = (String::new(), String::new());
        let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
        let mut samples = Vec::new();
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                name.clone_into(&mut family);
                kind.clear();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, said) = rest.split_once(' ').unwrap();
                assert!(name == family && kind.is_empty(), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&said), "{line}");
                assert_eq!(said == "counter", name.ends_with("_total"), "{line}");
                said.clone_into(&mut kind);
            } else {
                let sample = read_sample(line);
                let allowed: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let suffix = sample.0.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line}"));
                assert!(allowed.contains(&suffix), "{line}");
                assert_eq!(suffix == "_bucket", sample.1.contains_key("le"), "{line}");
                assert!(sample.1.keys().all(|label| is_name(label)), "{line}");
                assert!(series.insert((sample.0.clone(), sample.1.clone())), "{line} comes twice");
                assert!(kind == "gauge" || sample.2 >= 0.0, "{line}");
                samples.push(sample);
            }
        }
        samples
    }

    fn read_sample(line: &str) -> Sample {
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            while !rest.starts_with('}') {
                let (label, after) = rest.split_once("=\"").unwrap();
                let mut value = String::new();
                let mut chars = after.char_indices();
                let close = loop {
                    match chars.next().unwrap_or_else(|| panic!("no end: {line}")) {
                        (at, '"') => break at,
                        (_, '\\') => value.push(match chars.next().unwrap().1 {
                            'n' => '\n',
                            c @ ('"' | '\\') => c,
                            other => panic!("\\{other} is no escape: {line}"),
                        }),
                        (_, c) => value.push(c),
                    }
                };
                assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
                rest = &after[close + 1..];
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
            rest = &rest[1..];
        }
        let value = rest.strip_prefix(' ').unwrap().parse().unwrap_or_else(|e| panic!("{e}: {line}"));
        (name.to_owned(), labels, value)
    }

    fn household() -> State {
        let text = store::stack_file::shipped_text(1024);
        let stack = store::stack_file::check(Path::new("stack.toml"), &text, 1024).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let mut state = State::new(Arc::new(stack), "hash".into(), StackSource::default(), true, now);
        let pool = rehearsal::machine::reading(&[], rehearsal::machine::OTHER);
        let look = Look { pools: vec![pool], measured: BTreeMap::new(), doubts: BTreeMap::new() };
        state.apply(Event::Read(look), now);
        let thor = AgentName::new("thor").unwrap();
        state.apply(Event::Began { agent: thor.clone(), baseline: Vec::new() }, now);
        state.apply(Event::Ready { agent: thor.clone() }, now);
        state.apply(Event::Leased([(thor, 2)].into()), now);
        state
    }

    fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = samples.iter().find(|(n, l, _)| n == name && *l == wanted);
        found.unwrap_or_else(|| panic!("{name} {labels:?} is missing")).2
    }

    #[test]
    fn what_is_shown_can_be_read_back_and_is_true() {
        let recorder = Recorder::new(Arc::new(Mutex::new(Database::in_memory().unwrap())));
        let odd = "say \"hi\" \\ and\nagain {a=\"b\"}";
        for (client, agent, outcome) in [
            ("zed", "thor", Outcome::Done),
            ("zed", "thor", Outcome::Done),
            (odd, "thor", Outcome::Left),
            ("zed", "odin", Outcome::Refused),
        ] {
            recorder.ended(record(None, client, agent, outcome));
        }
        recorder.ended(bifrost::Record { agent: None, ..record(None, "zed", "x", Outcome::Refused) });
        let summons = [(AgentName::new("odin").unwrap(), 3)].into();
        let samples = read(&text(&household(), &recorder, &summons));
        let of = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
        let requests = |agent, client, outcome| {
            of("bifrost_requests_total", &[("agent", agent), ("client", client), ("outcome", outcome)])
        };
        assert_eq!(requests("thor", "zed", "done"), 2.0);
        assert_eq!(requests("thor", odd, "left"), 1.0);
        assert_eq!(requests("", "zed", "refused"), 1.0);
        assert_eq!(of("bifrost_refused_total", &[("status", "429")]), 2.0);
        assert_eq!(of("bifrost_tokens_total", &[("agent", "thor"), ("kind", "completion")]), 300.0);
        assert_eq!(of("bifrost_queue_seconds_bucket", &[("agent", "thor"), ("le", "30")]), 0.0);
        assert_eq!(of("bifrost_queue_seconds_bucket", &[("agent", "thor"), ("le", "60")]), 3.0);
        assert_eq!(of("bifrost_queue_seconds_bucket", &[("agent", "thor"), ("le", "+Inf")]), 3.0);
        assert_eq!(of("bifrost_queue_seconds_sum", &[("agent", "thor")]), 123.0);
        assert_eq!(of("bifrost_leases", &[("agent", "thor")]), 2.0);
        assert_eq!(of("bifrost_waiting", &[("agent", "odin")]), 0.0);
        assert_eq!(of("asgard_agent_state", &[("agent", "thor"), ("state", "busy")]), 1.0);
        assert_eq!(of("asgard_agent_state", &[("agent", "thor"), ("state", "ready")]), 0.0);
        assert_eq!(of("asgard_agent_state", &[("agent", "odin"), ("state", "asleep")]), 1.0);
        assert_eq!(of("asgard_summons_total", &[("agent", "odin")]), 3.0);
        let thors = [("agent", "thor"), ("pool", "unified"), ("kind", "reserved")];
        assert!(of("asgard_agent_memory_bytes", &thors) > 0.0);
        let pool = |kind| of("asgard_pool_bytes", &[("pool", "unified"), ("kind", kind)]);
        assert!(pool("capacity") >= pool("limit") && pool("limit") >= pool("available"));
        assert_eq!(of("asgard_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    }

    #[test]
    fn each_agent_is_in_exactly_one_state() {
        let recorder = Recorder::new(Arc::new(Mutex::new(Database::in_memory().unwrap())));
        let state = household();
        let samples = read(&text(&state, &recorder, &BTreeMap::new()));
        let states = samples.iter().filter(|(name, ..)| name == "asgard_agent_state");
        assert_eq!(states.clone().count(), state.stack.agents.len() * 9);
        assert_eq!(states.map(|(.., value)| value).sum::<f64>(), state.stack.agents.len() as f64);
    }

    #[test]
    fn histograms_only_grow_to_their_count() {
        let recorder = Recorder::new(Arc::new(Mutex::new(Database::in_memory().unwrap())));
        for _ in 0..5 {
            recorder.ended(record(None, "zed", "thor", Outcome::Done));
        }
        let samples = read(&text(&household(), &recorder, &BTreeMap::new()));
        for family in ["bifrost_queue_seconds", "bifrost_first_token_seconds", "bifrost_request_seconds"] {
            let buckets: Vec<f64> =
                samples.iter().filter(|s| s.0 == format!("{family}_bucket")).map(|s| s.2).collect();
            assert!(buckets.len() > 5 && buckets.is_sorted(), "{family}: {buckets:?}");
            assert_eq!(
                buckets.last(),
                Some(&value(&samples, &format!("{family}_count"), &[("agent", "thor")]))
            );
        }
    }
}
