//! Downloads, as far as they can be decided without a network and a disk.

pub mod queue;
