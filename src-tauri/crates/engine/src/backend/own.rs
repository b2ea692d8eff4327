//! What a server says of its own memory, gathered from the lines of one start.

use super::{BufferKind, LogFact};

/// The server's own numbers of one start. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OwnNumbers {
    /// Of all ranks that said so, each by its last word; of llama.cpp on GPU and processor together.
    pub weights: Option<u64>,
    /// Of one rank, for vLLM; of llama.cpp with the state of recurrent layers.
    pub kv_bytes: Option<u64>,
    /// The least of what the ranks say.
    pub kv_tokens: Option<u64>,
    pub graphs: Option<u64>,
    /// Work space of a pass: the peaks of vLLM's ranks, all of llama.cpp's buffers for it.
    pub compute: Option<u64>,
    /// Tokens of one request.
    pub context: Option<u64>,
    pub device_total: Option<u64>,
    /// Requests of the whole context that fit at once.
    pub concurrency: Option<f64>,
    ranks: Vec<(Option<u32>, u64)>,
    /// Each buffer of llama.cpp's caches has its line, which says more than the one that adds them up.
    buffers: bool,
}

/// More processes than this say nothing of weights in any start.
const MOST_RANKS: usize = 1024;

impl OwnNumbers {
    pub fn take(&mut self, fact: &LogFact) {
        match *fact {
            LogFact::WeightsLoaded { bytes, worker, .. } => self.take_weights(worker, bytes),
            LogFact::KvTokens(tokens) => {
                self.kv_tokens = Some(self.kv_tokens.map_or(tokens, |known| known.min(tokens)));
            }
            LogFact::KvBytes(bytes) if !self.buffers => self.kv_bytes = Some(bytes),
            LogFact::GraphsTook { bytes, .. } => self.graphs = Some(bytes),
            LogFact::Concurrency { times, .. } => {
                self.concurrency = Some(self.concurrency.map_or(times, |known| known.min(times)));
            }
            LogFact::Device { total, .. } => self.device_total = Some(total),
            LogFact::ContextChosen(tokens) => self.context = Some(u64::from(tokens)),
            LogFact::Buffer { kind, bytes, .. } => self.take_buffer(kind, bytes),
            LogFact::KvBytes(_) | LogFact::Stage(_) | LogFact::StageProgress(..) | LogFact::Listening => {}
        }
    }

    fn take_weights(&mut self, worker: Option<u32>, bytes: u64) {
        if let Some((_, known)) = self.ranks.iter_mut().find(|(known, _)| *known == worker) {
            *known = bytes;
        } else if self.ranks.len() < MOST_RANKS {
            self.ranks.push((worker, bytes));
        }
        // What names no process counts only where nothing else does.
        let named = self.ranks.iter().any(|(worker, _)| worker.is_some());
        let ranks = self.ranks.iter().filter(|(worker, _)| worker.is_some() == named);
        self.weights = Some(ranks.fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes)));
    }

    fn take_buffer(&mut self, kind: BufferKind, bytes: u64) {
        let total = match kind {
            BufferKind::Weights => &mut self.weights,
            BufferKind::Kv | BufferKind::State => {
                if !self.buffers {
                    self.buffers = true;
                    self.kv_bytes = None;
                }
                &mut self.kv_bytes
            }
            BufferKind::Compute | BufferKind::Output => &mut self.compute,
        };
        *total = Some(total.unwrap_or_default().saturating_add(bytes));
    }
}
