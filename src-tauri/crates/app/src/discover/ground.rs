//! What a model is held against: the household, its machine, what is in the cache.

use std::path::PathBuf;
use std::sync::Arc;

use domain::plan::Situation;
use domain::pool::PoolKind;
use domain::speed::{Bandwidth, bandwidth};
use domain::stack::{Gpu, Stack};

use crate::carry::Ctx;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// The cache's `hub` folder.
    pub(super) folder: PathBuf,
    /// 1, and 1024 on the small machine of a rehearsal. Its own Hub's models are that much smaller already; what
    /// servers take beside weights and cache is not, and neither are the figures that come with Asgard.
    pub(super) scale: u64,
    pub(super) gpu: Option<Gpu>,
    /// None without a stack that holds, or a machine whose memory is known.
    pub(crate) household: Option<Arc<(Stack, Situation)>>,
}

impl Ground {
    pub(crate) fn of(ctx: &Ctx) -> Self {
        let state = ctx.state.state();
        Self {
            folder: ctx.world.paths.hub.clone(),
            scale: ctx.world.scale(),
            gpu: state.gpu,
            household: Some(Arc::new((Stack::clone(&state.stack), state.situation()))),
        }
    }

    /// What results are checked for.
    pub(super) fn checked_for(&self) -> Option<String> {
        self.gpu.map(|Gpu::Gfx1151| "gfx1151".to_owned())
    }

    pub(super) fn bandwidth(&self) -> Option<Bandwidth> {
        let card = self
            .household
            .as_ref()
            .and_then(|h| h.1.pools.iter().find(|p| p.kind == PoolKind::Vram).map(|p| p.name.clone()));
        bandwidth(self.gpu, card.as_deref())
    }
}
