//! The record as a table for other programs.

use std::fmt::Write as _;

use api::ApiError;
use api::shapes::gateway::{ExportRequestsRequest, NamedText, RequestRow, TableFormat};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Recorder, shape};

/// How many rows are read while others wait for the database.
const PIECE: u32 = 2000;

const COLUMNS: [&str; 16] = [
    "id",
    "time",
    "client",
    "agent",
    "path",
    "stream",
    "outcome",
    "status",
    "prompt_tokens",
    "completion_tokens",
    "counted",
    "queued_seconds",
    "first_token_seconds",
    "tokens_per_second",
    "seconds",
    "why",
];

/// Every request that is kept, the oldest first.
pub(crate) async fn export(
    recorder: &Recorder,
    asked: &ExportRequestsRequest,
    now: Timestamp,
) -> Result<NamedText, ApiError> {
    recorder.flush().await;
    let mut table = Table::new(asked.format);
    let mut after = 0;
    loop {
        let rows = recorder.read(move |db| db.requests_after(after, PIECE)).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for kept in rows {
            table.row(&shape(kept));
        }
    }
    let ending = match asked.format {
        TableFormat::Csv => "csv",
        TableFormat::Json => "json",
    };
    let name = format!("asgard-requests-{}.{ending}", now.strftime("%Y%m%d"));
    Ok(NamedText { name, text: table.whole() })
}

/// The text as it grows. A line of CSV ends with CR LF, as RFC 4180 has it.
pub(super) struct Table {
    format: TableFormat,
    text: String,
    empty: bool,
}

impl Table {
    pub(super) fn new(format: TableFormat) -> Self {
        let text = match format {
            TableFormat::Csv => format!("{}\r\n", COLUMNS.join(",")),
            TableFormat::Json => "[".to_owned(),
        };
        Self { format, text, empty: true }
    }

    pub(super) fn row(&mut self, row: &RequestRow) {
        let values = values(row);
        match self.format {
            TableFormat::Csv => {
                for (n, value) in values.iter().enumerate() {
                    if n > 0 {
                        self.text.push(',');
                    }
                    self.text.push_str(&cell(value));
                }
                self.text.push_str("\r\n");
            }
            TableFormat::Json => {
                let object: serde_json::Map<String, Value> =
                    COLUMNS.iter().map(|name| (*name).to_owned()).zip(values).collect();
                let comma = if self.empty { "" } else { "," };
                // Writing into a text cannot fail.
                let _ = write!(self.text, "{comma}\n{}", Value::Object(object));
            }
        }
        self.empty = false;
    }

    pub(super) fn whole(mut self) -> String {
        if self.format == TableFormat::Json {
            self.text.push_str(if self.empty { "]\n" } else { "\n]\n" });
        }
        self.text
    }
}

/// In the order of the columns.
fn values(row: &RequestRow) -> [Value; 16] {
    [
        json!(row.id),
        json!(row.time),
        json!(row.client),
        json!(row.agent),
        json!(row.path),
        json!(row.stream),
        json!(row.outcome),
        json!(row.status),
        json!(row.prompt_tokens),
        json!(row.completion_tokens),
        json!(row.counted),
        json!(row.queued_seconds),
        json!(row.first_token_seconds),
        json!(row.tokens_per_second),
        json!(row.seconds),
        json!(row.why),
    ]
}

/// What is not known is empty. Names come from whoever asks, and programs of tables take what begins with one of
/// these signs for a formula: an apostrophe before it says that it is none.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => return other.to_string(),
    };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
