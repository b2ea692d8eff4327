//! What the journeys share: a household of its own for each, a container engine, and a screen for the window.

pub mod display;
pub mod docker;
pub mod fetching;
pub mod household;
pub mod hub_client;
pub mod podman;
pub mod registry;
pub mod steps;
