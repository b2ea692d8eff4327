//! What Asgard does.
//!
//! One run loop ([`run_loop`]) owns the [`state::State`]; everything that happens reaches it as a [`state::Event`],
//! and it is the only one that changes anything. A wish becomes a plan (`domain::plan`), and [`carry`] carries the
//! plan out step by step, reporting each result back as an event. Faces read the state through [`view`].
//!
//! Journeys to read in one pass: `commands::handle` → `run_loop` → `carry` (a switch); `chat` → Bifrost → `dispatch`
//! (a message); `recover` (what happens after a crash).
//!
//! Deliberately absent: sockets of faces, words of commands, the tray. Those belong to the programs.

mod account;
#[cfg(test)]
mod account_tests;
mod activity;
mod agent_live;
mod assigning;
mod bench;
mod carry;
mod chat;
mod commands;
mod discover;
mod dispatch;
mod doctor;
mod downloads;
mod editing;
mod errand;
mod estimating;
mod event;
mod first_run;
mod gate;
mod gateway;
mod gateway_settings;
mod health;
mod here;
mod history;
mod hub_problem;
mod images;
mod installed;
mod keys;
mod learning;
mod neighbour_view;
mod neighbours;
mod offline;
mod overlay;
mod pressure;
mod preview;
mod probe;
mod prometheus;
mod reading;
mod ready;
mod record;
mod recover;
mod restarting;
mod run_loop;
mod sse;
mod stack_watch;
mod stacks;
mod start;
mod state;
#[cfg(test)]
mod state_tests;
mod telemetry;
mod tools;
mod tray_view;
mod view;
mod wake;
mod what_if;
mod world;
mod yielding;

pub use commands::App;
pub use discover::{offline_curated, offline_info, offline_search};
pub use doctor::{offline_doctor, offline_report};
pub use estimating::offline_estimate;
pub use history::offline_picture;
pub use installed::{offline_import, offline_installed, offline_remove, offline_verify};
pub use offline::{FromState, OfflinePlan, offline_plan};
pub use stacks::{Ground, confirm, confirmation, export, gpu, ground, import, presets, stack_on, use_preset};
pub use start::{Options, StartError, start};
pub use tools::{ToolGround, ToolPlaces, put_tool_key, tool_config, tool_configs, write_tool_config, writes};
