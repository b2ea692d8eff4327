//! Bytes, and how a person reads them.
//!
//! For memory 1 GB = 2^30 bytes, the meaning that the kernel, Docker and vLLM count in. For files and downloads
//! 1 GB = 10^9 bytes; those are formatted elsewhere, so that the two never meet in one sum.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// An amount of memory in bytes. Arithmetic saturates: a lie in a file must not become a small number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

impl Bytes {
    pub const ZERO: Self = Self(0);

    /// `gb` in memory gigabytes (2^30), rounded to a whole byte. Negative and not-a-number become zero.
    pub fn gb(gb: f64) -> Self {
        Self::of(gb, GIB)
    }

    /// `mb` in memory megabytes (2^20).
    pub fn mb(mb: f64) -> Self {
        Self::of(mb, MIB)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to zero and u64::MAX"
    )]
    fn of(amount: f64, unit: u64) -> Self {
        Self((amount * unit as f64).round().max(0.0) as u64)
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The share `numerator / denominator` of this amount, rounded down, without overflow on the way.
    #[must_use]
    pub fn share(self, numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::ZERO;
        }
        let exact = u128::from(self.0) * u128::from(numerator) / u128::from(denominator);
        Self(u64::try_from(exact).unwrap_or(u64::MAX))
    }

    /// For a person: one decimal, in `unit`, with a non-breaking space ("25.3 GB").
    pub fn show(self, unit: Unit) -> String {
        format!("{:.1}\u{a0}{unit}", self.0 as f64 / unit.bytes() as f64)
    }

    /// As [`Bytes::show`], rounded up to the next tenth: for a shortfall, which must never look smaller than it is.
    pub fn show_up(self, unit: Unit) -> String {
        let tenths = (self.0 as f64 / unit.bytes() as f64 * 10.0 - 1e-6).ceil().max(0.0);
        format!("{:.1}\u{a0}{unit}", tenths / 10.0)
    }

    /// As [`Bytes::show`], rounded down: for what is to spare, which must never look larger than it is.
    pub fn show_down(self, unit: Unit) -> String {
        let tenths = (self.0 as f64 / unit.bytes() as f64 * 10.0 + 1e-6).floor().max(0.0);
        format!("{:.1}\u{a0}{unit}", tenths / 10.0)
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// The unit a machine's memory is spoken of in: gigabytes, or megabytes on the played machine of a rehearsal.
///
/// It is derived from the capacity and kept nowhere, so that the bar, the plan and the sentences cannot disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    #[default]
    Gb,
    Mb,
}

impl Unit {
    pub fn for_capacity(capacity: Bytes) -> Self {
        if capacity.0 >= GIB { Self::Gb } else { Self::Mb }
    }

    /// Bytes in one of this unit.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Gb => GIB,
            Self::Mb => MIB,
        }
    }

    /// `amount` of this unit, in bytes.
    pub fn of(self, amount: f64) -> Bytes {
        Bytes::of(amount, self.bytes())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gb => "GB",
            Self::Mb => "MB",
        })
    }
}
