//! What memory was used for, and what the servers said of themselves, over time: as pictures and in words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// The window's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PictureTheme {
    #[default]
    Dark,
    Light,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PictureFormat {
    Svg,
    Png,
}

impl PictureFormat {
    pub fn word(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct HistoryRequest {
    /// A pool's id; all pools where null.
    pub pool: Option<String>,
    /// How far back, up to a year.
    pub hours: f64,
    pub theme: PictureTheme,
    /// Of each picture, in pixels.
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct History {
    /// Empty where no pool is known at all.
    pub pools: Vec<PoolHistory>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PoolHistory {
    pub id: String,
    pub name: String,
    /// Whether anything was recorded in this time.
    pub recorded: bool,
    /// The picture: shapes and text alone.
    pub svg: String,
    /// What it shows, in words.
    pub summary: String,
    /// RFC 3339.
    pub from: String,
    pub to: String,
    pub marks: Vec<HistoryMark>,
}

/// Events that stand at one place of the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct HistoryMark {
    /// 0 to 1 of the picture's width.
    pub x: f64,
    /// "14:05 Odin ready in 38 s", in order of time.
    pub texts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentHistoryRequest {
    /// An agent's name; all agents where null.
    pub agent: Option<String>,
    /// How far back, up to a year.
    pub hours: f64,
    pub theme: PictureTheme,
    /// Of each picture, in pixels.
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentHistories {
    /// In the order of the stack; agents of which nothing was recorded in this time are left out.
    pub agents: Vec<AgentHistory>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct AgentHistory {
    pub agent: String,
    pub figures: Vec<FigureHistory>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct FigureHistory {
    /// "kv_cache_used", "tokens_per_second", "time_to_first_token", "running", "waiting", "preemptions".
    pub figure: String,
    /// "KV cache in use".
    pub name: String,
    /// The latest, in words: "34 %".
    pub latest: String,
    pub svg: String,
    /// What it shows, in words.
    pub summary: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct PictureRequest {
    pub format: PictureFormat,
    /// A pool's id; all pools below each other where null.
    pub pool: Option<String>,
    /// How far back, up to a year.
    pub hours: f64,
    pub theme: PictureTheme,
    /// Of each pool's picture, in pixels; a PNG has twice as many.
    pub width: u32,
    pub height: u32,
}

/// A file to be written by whoever asked; the controller writes none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Picture {
    /// What it may be called: "asgard-memory-24h.svg".
    pub name: String,
    pub format: PictureFormat,
    /// Its bytes, as RFC 4648 base64.
    pub base64: String,
    /// What it shows, in words.
    pub summary: String,
}

impl Picture {
    pub fn new(name: String, format: PictureFormat, bytes: &[u8], summary: String) -> Self {
        Self { name, format, base64: STANDARD.encode(bytes), summary }
    }

    /// `None` where the text is no base64.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.base64).ok()
    }
}
