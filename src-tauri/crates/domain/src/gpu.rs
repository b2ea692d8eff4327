//! Whose graphics a machine has: which devices a server is given, and which variables choose among cards.

/// The maker of the GPU that models run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GpuVendor {
    /// Reached through `/dev/kfd` and `/dev/dri`.
    Amd,
    /// Handed to a container by the engine, through NVIDIA's own toolkit.
    Nvidia,
}
