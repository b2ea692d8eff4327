//! The sentences of plans.
