//! Readiness: what this machine needs to run the stack, and what to do about what is missing.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Doctor {
    /// In an order that stays: memory, swap, kernel, devices, engine, disks, ports, the stack and its profiles.
    pub checks: Vec<DoctorCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DoctorCheck {
    /// Stays the same between versions: "gtt_cap", "profile.odin".
    pub id: String,
    pub title: String,
    pub status: DoctorStatus,
    /// What is there; of a skip, why nothing can be said.
    pub found: String,
    /// What would pass.
    pub wanted: String,
    /// What goes wrong otherwise.
    pub why: String,
    /// Commands to copy, one a line; given with a warning and a failure, else null.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum DoctorStatus {
    Pass,
    /// It works without, less well.
    Warn,
    /// Agents will not start, or not all of them.
    Fail,
    /// Not known, or beside the point here.
    Skip,
}

/// A text to be sent to somebody who helps: without secrets, names and the home folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct DoctorReport {
    /// A name for the file.
    pub name: String,
    /// Markdown.
    pub text: String,
}
