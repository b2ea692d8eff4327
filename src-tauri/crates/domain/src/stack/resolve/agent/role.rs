//! Roles: agents that are served by another agent's server.

use super::super::super::quantity::quoted;
use super::super::super::suggest::instead_of;
use super::super::super::{Agent, ClaimBasis, Tier};
use super::{AgentCheck, MOST_CONTEXT, MOST_SEQUENCES};
use crate::memory::Bytes;

impl AgentCheck<'_> {
    /// A role on another agent's server: its own name, prompt and times; everything else is the server's.
    pub(in super::super) fn role(mut self, server: Option<&Agent>, of_a_role: bool) -> Option<Agent> {
        let raw = self.raw;
        let wanted = raw.served_by.as_deref().unwrap_or_default();
        self.keys_without_meaning();
        let tier = self.tier();
        self.look();
        let ttl = self.time("ttl", raw.ttl.as_ref()).filter(|t| !t.is_zero());
        let drain = self.drain();
        let request_timeout =
            self.time("request_timeout", raw.request_timeout.as_ref()).filter(|t| !t.is_zero());
        let Some(server) = server else {
            let (message, next) = if wanted == self.name.as_str() {
                let message = format!("{} cannot be a role on its own server.", self.name.proper());
                (message, "Name another agent, or remove served_by.".to_owned())
            } else if of_a_role {
                let message = format!("{} is a role itself and has no server.", quoted(wanted));
                (message, format!("Name the agent that {wanted} is served by."))
            } else if self.known.contains(&wanted) {
                // What is wrong with that agent is said where it stands.
                return None;
            } else {
                let next = instead_of(wanted, self.known.iter().copied());
                (format!("There is no agent {}.", quoted(wanted)), next)
            };
            self.problem("served_by", message, next);
            return None;
        };
        let context = self.number("context", raw.context, MOST_CONTEXT).unwrap_or(server.context);
        if context > server.context {
            self.problem(
                "context",
                format!("{}'s server holds {} tokens.", server.name.proper(), server.context),
                format!("Write context = {} or less.", server.context),
            );
        }
        let sequences = self.number("sequences", raw.sequences, MOST_SEQUENCES).unwrap_or(server.sequences);
        if sequences > server.sequences {
            self.problem(
                "sequences",
                format!("{}'s server works on {} at once.", server.name.proper(), server.sequences),
                format!("Write sequences = {} or less.", server.sequences),
            );
        }
        Some(Agent {
            name: self.name.clone(),
            display_name: self.display_name(),
            title: raw.title.clone().unwrap_or_default(),
            role: raw.role.clone().unwrap_or_default(),
            tier: tier.unwrap_or(Tier::Utility),
            context,
            sequences,
            claim: ClaimBasis::Memory(Bytes::ZERO),
            learned: None,
            ttl,
            drain,
            // One that is not written is the server's; zero is none at all.
            request_timeout: if raw.request_timeout.is_some() {
                request_timeout
            } else {
                server.request_timeout
            },
            pinned: false,
            served_by: Some(server.name.clone()),
            glyph: raw.glyph.clone(),
            color: raw.color.clone(),
            ..server.clone()
        })
    }

    fn keys_without_meaning(&mut self) {
        let raw = self.raw;
        let given = [
            ("backend", raw.backend.is_some()),
            ("engine", raw.engine.is_some()),
            ("command", raw.command.is_some()),
            ("endpoint", raw.endpoint.is_some()),
            ("model", raw.model.is_some()),
            ("revision", raw.revision.is_some()),
            ("image", raw.image.is_some()),
            ("host_ipc", raw.host_ipc.is_some()),
            ("port", raw.port.is_some()),
            ("weights", raw.weights.is_some()),
            ("overhead", raw.overhead.is_some()),
            ("kv_cache", raw.kv_cache.is_some()),
            ("memory", raw.memory.is_some()),
            ("share", raw.share.is_some()),
            ("dtype", raw.dtype.is_some()),
            ("quantization", raw.quantization.is_some()),
            ("kv_dtype", raw.kv_dtype.is_some()),
            ("tensor_parallel", raw.tensor_parallel.is_some()),
            ("devices", raw.devices.is_some()),
            ("tool_parser", raw.tool_parser.is_some()),
            ("draft_model", raw.draft_model.is_some()),
            ("draft_tokens", raw.draft_tokens.is_some()),
            ("batched_tokens", raw.batched_tokens.is_some()),
            ("prefix_caching", raw.prefix_caching.is_some()),
            ("eager", raw.eager.is_some()),
            ("attention_backend", raw.attention_backend.is_some()),
            ("gpu_layers", raw.gpu_layers.is_some()),
            ("load_mode", raw.load_mode.is_some()),
            ("cache_ram", raw.cache_ram.is_some()),
            ("args", raw.args.is_some()),
            ("env", raw.env.is_some()),
            ("load_timeout", raw.load_timeout.is_some()),
            ("min_residency", raw.min_residency.is_some()),
            ("pinned", raw.pinned.is_some()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            self.problem(
                key,
                format!("{key} means nothing for {}, a role on another agent's server.", self.name.proper()),
                format!("Remove {key}, or remove served_by."),
            );
        }
    }
}
