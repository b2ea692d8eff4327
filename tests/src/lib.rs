//! What the journeys share: a household of its own for each, and a screen for the window.

pub mod display;
pub mod household;
