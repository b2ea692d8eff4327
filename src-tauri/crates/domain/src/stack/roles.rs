//! Roles: agents that live on another agent's server. They have a prompt and a name of their own, and no bytes.
//!
//! A plan knows servers only: [`Stack::servers_only`] is the same stack with every role replaced by its server, so
//! nothing that decides about memory has to ask.

use std::collections::BTreeSet;

use super::{Agent, Profile, Stack};
use crate::agent::AgentName;

impl Stack {
    /// The agent whose server this one answers from: itself, or, for a role, the one that serves it.
    pub fn server_of<'a>(&'a self, name: &'a AgentName) -> &'a AgentName {
        self.agent(name).and_then(|a| a.served_by.as_ref()).unwrap_or(name)
    }

    pub fn roles_of<'a>(&'a self, server: &'a AgentName) -> impl Iterator<Item = &'a Agent> {
        self.agents.iter().filter(move |a| a.served_by.as_ref() == Some(server))
    }

    /// Roles take over what their servers are now, of a stack that was changed after its check. Nothing of one that
    /// was not.
    pub fn roles_follow(&mut self) {
        let servers: Vec<Agent> = self.agents.iter().filter(|a| a.served_by.is_none()).cloned().collect();
        for role in &mut self.agents {
            let Some(server) = servers.iter().find(|s| role.served_by.as_ref() == Some(&s.name)) else {
                continue;
            };
            let own = role.clone();
            *role = Agent {
                name: own.name,
                display_name: own.display_name,
                title: own.title,
                role: own.role,
                tier: own.tier,
                context: own.context.min(server.context),
                sequences: own.sequences.min(server.sequences),
                claim: own.claim,
                learned: None,
                ttl: own.ttl,
                drain: own.drain,
                request_timeout: own.request_timeout,
                pinned: own.pinned,
                served_by: own.served_by,
                glyph: own.glyph,
                color: own.color,
                ..server.clone()
            };
        }
    }

    /// The stack as plans see it; itself where there is no role.
    pub(crate) fn servers_only(&self) -> std::borrow::Cow<'_, Self> {
        if self.agents.iter().all(|a| a.served_by.is_none()) {
            return std::borrow::Cow::Borrowed(self);
        }
        let mut stack = self.clone();
        stack.agents.retain(|a| a.served_by.is_none());
        let map = |names: &[AgentName]| {
            let mut servers: Vec<AgentName> = Vec::new();
            for name in names.iter().map(|n| self.server_of(n)) {
                if !servers.contains(name) {
                    servers.push(name.clone());
                }
            }
            servers
        };
        for profile in &mut stack.profiles {
            profile.agents = map(&profile.agents);
        }
        for set in &mut stack.conflicts {
            *set = map(set);
        }
        std::borrow::Cow::Owned(stack)
    }
}

impl Profile {
    /// Whose servers are awake when the profile is.
    pub fn servers(&self, stack: &Stack) -> BTreeSet<AgentName> {
        self.agents.iter().map(|n| stack.server_of(n).clone()).collect()
    }
}
