//! What was found of the machine, in words, and which of the shipped stacks suits it.

use api::{ApiError, Code};
use domain::memory::{Bytes, GIB, MIB, Unit};
use domain::plan::{Goal, Situation, plan};
use domain::pool::{Ledger, PoolKind, PoolReading};
use domain::stack::{Gpu, Stack};
use hardware::Reading;
use store::stack_file::{
    self,
    presets::{self, Preset},
};

use crate::stacks::Ground;

/// Of whom a preset is proposed, in the order in which they are tried: the first whose base profile fits.
fn candidates(ground: &Ground, gpu: Option<Gpu>) -> &'static [&'static str] {
    let cards = ground.pools.iter().filter(|p| p.kind == PoolKind::Vram).count();
    if ground.scale > 1 {
        &["rehearsal"]
    } else if gpu == Some(Gpu::Gfx1151) {
        &["norse", "norse-llamacpp", "small"]
    } else if cards >= 4 {
        &["qwen3-next-tp4", "small"]
    } else {
        &["small"]
    }
}

/// The preset that suits this machine, and its stack; none where not even the smallest fits or the memory is not known.
pub(super) fn preset(ground: &Ground, gpu: Option<Gpu>) -> Option<(&'static Preset, Stack)> {
    let situation = Situation { pools: ground.pools.clone(), ..Situation::default() };
    candidates(ground, gpu).iter().find_map(|name| {
        let preset = presets::find(name)?;
        let text = preset.text_scaled(ground.scale);
        let stack = stack_file::check_on(&ground.paths.stack_file(), &text, ground.scale, &gpu).ok()?;
        let fits = plan(&stack, &situation, &Goal::Profile(stack.base.clone())).is_ok_and(|p| p.fits);
        fits.then_some((preset, stack))
    })
}

/// "128 GB of memory that processor and GPU share".
pub(super) fn words(pools: &[PoolReading], rehearsal: bool) -> String {
    let Some(pool) = pools.first() else { return "A machine whose memory could not be read".to_owned() };
    let size = pool.capacity.map_or_else(
        || "Memory of unknown size".to_owned(),
        |capacity| {
            let unit = Unit::for_capacity(capacity);
            format!("{:.0}\u{a0}{unit}", capacity.0 as f64 / unit.bytes() as f64)
        },
    );
    let cards = pools.iter().filter(|p| p.kind == PoolKind::Vram).count();
    match pool.kind {
        PoolKind::Unified if rehearsal => format!("{size} of played memory"),
        PoolKind::Unified => format!("{size} of memory that processor and GPU share"),
        PoolKind::Vram if cards > 1 => format!("{cards} cards of {size}"),
        PoolKind::Vram => format!("A card of {size}"),
        PoolKind::Ram => format!("{size} of memory, no GPU"),
    }
}

/// "AMD Strix Halo, gfx1151".
pub(super) fn gpu(reading: &Reading, known: Option<Gpu>) -> Option<String> {
    let name = reading.gpus.first().map(|g| g.name.clone());
    match (name, known) {
        (Some(name), Some(Gpu::Gfx1151)) => Some(format!("{name}, gfx1151")),
        (Some(name), None) => Some(name),
        (None, Some(Gpu::Gfx1151)) => Some("gfx1151".to_owned()),
        (None, None) => None,
    }
}

/// "Docker 27.3.1".
pub(super) fn engine_words(kind: &str, version: Option<&str>) -> String {
    let name = match kind {
        "docker" => "Docker",
        "podman" => "Podman",
        other => other,
    };
    version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
}

/// Of the one pool: what is there, and between what a limit may be chosen. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) capacity: Bytes,
    pub(super) limit: Bytes,
    pub(super) least: Bytes,
    pub(super) most: Bytes,
    pub(super) other: Bytes,
}

pub(super) fn bounds(pool: &PoolReading, ledger: &Ledger) -> Bounds {
    let capacity = ledger.capacity;
    // The most that any stack may name, and a quarter, below which nobody would set up agents.
    let most = Ledger::limit_for(pool.kind, capacity, Some(capacity));
    Bounds { capacity, limit: ledger.limit, least: capacity.share(1, 4).min(most), most, other: ledger.other }
}

impl Bounds {
    /// # Errors
    /// A limit outside of them.
    pub(super) fn allow(self, limit: Bytes) -> Result<(), ApiError> {
        if (self.least..=self.most).contains(&limit) {
            return Ok(());
        }
        let unit = Unit::for_capacity(self.capacity);
        Err(ApiError::new(
            Code::Usage,
            format!("A limit of {} is not possible here.", limit.show(unit)),
            format!("Choose one from {} to {}.", self.least.show(unit), self.most.show_down(unit)),
        ))
    }
}

/// As one writes it: "120 GB", "112.5 GB"; rounded down, because it is a promise.
pub(super) fn written(bytes: Bytes, scale: u64) -> String {
    let (unit, of) = if scale > 1 { (Unit::Mb, MIB) } else { (Unit::Gb, GIB) };
    let tenths = u128::from(bytes.0).saturating_mul(10) / u128::from(of);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}
