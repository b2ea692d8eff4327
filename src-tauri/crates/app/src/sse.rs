//! Server-sent events, for the chat only: the gateway never parses what it forwards.

/// Gathers bytes of any cut into the data of events.
#[derive(Debug, Default)]
pub(crate) struct SseReader {
    line: Vec<u8>,
    data: Vec<String>,
}

/// A line longer than this is no event of a model server.
const MAX_LINE: usize = 4 << 20;

impl SseReader {
    /// Feeds bytes, and returns the data of every event that is complete. Comments and unknown fields are passed over.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < MAX_LINE {
                    self.line.push(byte);
                }
                continue;
            }
            let mut line = std::mem::take(&mut self.line);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                if !self.data.is_empty() {
                    events.push(std::mem::take(&mut self.data).join("\n"));
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                let data = data.strip_prefix(b" ").unwrap_or(data);
                self.data.push(String::from_utf8_lossy(data).into_owned());
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::SseReader;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> Vec<String> {
        let mut reader = SseReader::default();
        chunks.iter().flat_map(|c| reader.feed(c)).collect()
    }

    #[test]
    fn comments_line_ends_and_joined_data() {
        assert_eq!(
            read(&[b": ping\n\ndata: a\r\n\r\ndata:b\ndata: c\n\nevent: x\ndata: d\n"]),
            ["a", "b\nc"]
        );
    }

    proptest! {
        /// Where the network cuts the stream makes no difference, not even within a letter of several bytes.
        #[test]
        fn cuts_do_not_matter(texts in prop::collection::vec("[a-zäöü€😀 ]{0,12}", 0..6), cut in 1usize..7) {
            let stream: String = texts.iter().map(|t| format!("data: {t}\n\n")).collect();
            let chunks: Vec<&[u8]> = stream.as_bytes().chunks(cut).collect();
            prop_assert_eq!(read(&chunks), texts);
        }
    }
}
