//! Log lines in the two forms.
//!
//! All of it goes to standard error, though vLLM spreads it over both: an engine that keeps the two streams apart
//! could mix up their order, and the order is what a reader of failures depends on.

use std::io::Write;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Which of vLLM's processes speaks. They are all played by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Api,
    Engine,
    Worker,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// As it is: tracebacks, progress bars, uvicorn.
    Raw(String),
    Vllm {
        who: Who,
        level: &'static str,
        at: &'static str,
        text: String,
    },
    Llama {
        level: char,
        text: String,
    },
}

impl Line {
    pub(crate) fn raw(text: impl Into<String>) -> Self {
        Self::Raw(text.into())
    }

    pub(crate) fn info(who: Who, at: &'static str, text: impl Into<String>) -> Self {
        Self::Vllm { who, level: "INFO", at, text: text.into() }
    }

    pub(crate) fn error(who: Who, at: &'static str, text: impl Into<String>) -> Self {
        Self::Vllm { who, level: "ERROR", at, text: text.into() }
    }

    pub(crate) fn llama(level: char, text: impl Into<String>) -> Self {
        Self::Llama { level, text: text.into() }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    started: Instant,
    pid: u32,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), pid: std::process::id() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn print(&self, line: &Line) {
        let mut text = self.format(line);
        text.push('\n');
        // Whoever read the log may be gone; the server goes on without it.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    pub(crate) fn print_all(&self, lines: &[Line]) {
        for line in lines {
            self.print(line);
        }
    }

    fn format(&self, line: &Line) -> String {
        match line {
            Line::Raw(text) => text.clone(),
            Line::Vllm { who, level, at, text } => {
                let (who, pid) = match who {
                    Who::Api => ("APIServer", self.pid),
                    Who::Engine => ("EngineCore", self.pid + 1),
                    Who::Worker => ("Worker", self.pid + 2),
                };
                // UTC, as in a container.
                let time = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%m-%d %H:%M:%S");
                let prefix = format!("({who} pid={pid}) {level} {time} [{at}] ");
                text.lines().map(|l| format!("{prefix}{l}")).collect::<Vec<_>>().join("\n")
            }
            Line::Llama { level, text } => {
                let micros = self.started.elapsed().as_micros();
                let (minutes, seconds) = (micros / 60_000_000, micros / 1_000_000 % 60);
                let (milli, micro) = (micros / 1000 % 1000, micros % 1000);
                format!("{minutes}.{seconds:02}.{milli:03}.{micro:03} {level} {text}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_prefixes_of_the_real_servers() {
        let log = Log::new();
        let vllm =
            log.format(&Line::info(Who::Worker, "base_loader.py:82", "Initializing model took 0.6 seconds"));
        let head = format!("(Worker pid={}) INFO ", std::process::id() + 2);
        assert!(vllm.starts_with(&head), "{vllm}");
        assert!(vllm.ends_with(" [base_loader.py:82] Initializing model took 0.6 seconds"), "{vllm}");
        let llama = log.format(&Line::llama('I', "srv  llama_server: initializing ..."));
        assert!(
            llama.starts_with("0.00.0") && llama.ends_with(" I srv  llama_server: initializing ..."),
            "{llama}"
        );
    }

    #[test]
    fn every_line_of_a_text_has_its_own_prefix() {
        let text = Log::new().format(&Line::error(Who::Engine, "core.py:1510", "one\ntwo"));
        assert_eq!(text.lines().filter(|l| l.starts_with("(EngineCore pid=")).count(), 2);
    }
}
