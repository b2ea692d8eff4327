//! The requests that wait and run right now.

use std::collections::BTreeMap;

use api::shapes::gateway::{RequestOutcome, RequestPlace, RequestRow, RequestsQuery};
use domain::agent::AgentName;
use domain::schedule::{Place, Ticket};
use jiff::Timestamp;

use super::Entry;

/// By ticket: tickets are given out in order, so the oldest comes first.
#[derive(Default)]
pub(super) struct UnderWay(BTreeMap<Ticket, One>);

struct One {
    entry: Entry,
    place: Option<Place>,
    leased: Option<Timestamp>,
    story: Option<String>,
}

impl UnderWay {
    pub(super) fn come(&mut self, entry: Entry) {
        self.0.insert(entry.ticket, One { entry, place: None, leased: None, story: None });
    }

    pub(super) fn leased(&mut self, ticket: Ticket, story: Option<String>, now: Timestamp) {
        if let Some(one) = self.0.get_mut(&ticket) {
            one.leased = Some(now);
            one.place = None;
            one.story = story;
        }
    }

    /// Whether anything changed by it.
    pub(super) fn placed(&mut self, ticket: Ticket, place: Place) -> bool {
        match self.0.get_mut(&ticket) {
            Some(one) if one.leased.is_none() && one.place.as_ref() != Some(&place) => {
                one.place = Some(place);
                true
            }
            _ => false,
        }
    }

    /// Whether it was there.
    pub(super) fn gone(&mut self, ticket: Ticket) -> bool {
        self.0.remove(&ticket).is_some()
    }

    /// How many wait for each agent, and how many have it.
    pub(super) fn crowd(&self) -> BTreeMap<AgentName, (u32, u32)> {
        let mut crowd: BTreeMap<AgentName, (u32, u32)> = BTreeMap::new();
        for one in self.0.values() {
            if !crowd.contains_key(&one.entry.agent) {
                crowd.insert(one.entry.agent.clone(), (0, 0));
            }
            if let Some((waiting, running)) = crowd.get_mut(&one.entry.agent) {
                *if one.leased.is_some() { running } else { waiting } += 1;
            }
        }
        crowd
    }

    pub(super) fn rows(&self, asked: &RequestsQuery, now: Timestamp) -> Vec<RequestRow> {
        self.0
            .values()
            .filter(|one| asked.agent.as_deref().is_none_or(|agent| one.entry.agent.as_str() == agent))
            .filter(|one| asked.client.as_deref().is_none_or(|client| *one.entry.client == *client))
            .map(|one| one.row(now))
            .collect()
    }
}

impl One {
    fn row(&self, now: Timestamp) -> RequestRow {
        let since = |then: Timestamp, until: Timestamp| until.duration_since(then).as_secs_f64().max(0.0);
        let entry = &self.entry;
        RequestRow {
            id: None,
            time: entry.since.to_string(),
            client: entry.client.to_string(),
            agent: Some(entry.agent.to_string()),
            path: entry.path.clone(),
            stream: entry.stream,
            outcome: if self.leased.is_some() { RequestOutcome::Running } else { RequestOutcome::Waiting },
            status: None,
            prompt_tokens: None,
            completion_tokens: None,
            counted: false,
            queued_seconds: since(entry.since, self.leased.unwrap_or(now)),
            first_token_seconds: None,
            tokens_per_second: None,
            seconds: since(entry.since, now),
            place: self.place.as_ref().map(|place| RequestPlace {
                place: place.place,
                stage: place.stage.clone(),
                seconds_left: place.seconds_left,
            }),
            why: self.story.clone(),
        }
    }
}
