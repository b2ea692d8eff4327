//! Short names for what a stack or an agent says, so that two can be compared without keeping either.
//!
//! 64-bit FNV-1a over the `Debug` form, as 16 hexadecimal digits. Stable for one version of Asgard; a new version
//! that adds a field changes the hashes once, which costs a *restart to apply* at most. It tells edits apart, it
//! does not resist anybody.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{Agent, Basis, ClaimBasis, Stack, Tier};
use crate::memory::Bytes;

/// The hash of the whole stack.
pub fn hash(stack: &Stack) -> String {
    if stack.agents.iter().all(|a| a.learned.is_none()) {
        return of(stack);
    }
    // What was measured is nothing that anybody wrote.
    let mut written = stack.clone();
    for agent in &mut written.agents {
        agent.learned = None;
    }
    of(&written)
}

/// The hash of what an agent's server was started with. Left out is what needs no restart: how it is shown, the
/// prompt it is given in chats, whose budget it counts on, its times, whether it is pinned, and what was learned of it.
///
/// Nor does it know what is only counted with: weights and overhead beside a KV cache in bytes reach no server, and
/// what they are estimated at changes when the model's files arrive, which is no reason to start one again.
pub fn agent_hash(agent: &Agent) -> String {
    let claim = match agent.claim {
        ClaimBasis::KvCache { kv_cache, .. } => {
            ClaimBasis::KvCache { weights: Bytes::ZERO, kv_cache, overhead: Bytes::ZERO }
        }
        whole => whole,
    };
    of(&Agent {
        claim,
        basis: Basis::Declared,
        kv_bytes_per_token: None,
        display_name: String::new(),
        title: String::new(),
        role: String::new(),
        tier: Tier::Utility,
        ttl: None,
        drain: Duration::ZERO,
        load_timeout: Duration::ZERO,
        request_timeout: None,
        min_residency: Duration::ZERO,
        pinned: false,
        learned: None,
        glyph: None,
        color: None,
        ..agent.clone()
    })
}

pub(super) fn of(value: &impl fmt::Debug) -> String {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    // Writing into a number cannot fail.
    let _ = write!(hash, "{value:?}");
    format!("{:016x}", hash.0)
}

struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn it_is_the_published_function() {
        // FNV-1a of `"a"` with its quotes, worked out by hand from the definition.
        let by_hand = b"\"a\""
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
        assert_eq!(of(&"a"), format!("{by_hand:016x}"));
        assert_ne!(of(&"a"), of(&"b"));
    }
}
