//! A writer of GGUF headers, for tests. Other tests take it in by its path.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part, and fails where it cannot write"
)]

/// A header under construction.
#[derive(Default)]
pub(crate) struct Writer {
    entries: u64,
    tensors: u64,
    body: Vec<u8>,
    infos: Vec<u8>,
}

impl Writer {
    fn text(to: &mut Vec<u8>, text: &str) {
        to.extend((text.len() as u64).to_le_bytes());
        to.extend(text.as_bytes());
    }

    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries += 1;
        Self::text(&mut self.body, key);
        self.body.extend(kind.to_le_bytes());
        self.body.extend(value);
        self
    }

    pub(crate) fn number(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn string(self, key: &str, value: &str) -> Self {
        let mut bytes = Vec::new();
        Self::text(&mut bytes, value);
        self.raw(key, 8, &bytes)
    }

    pub(crate) fn list(self, key: &str, values: &[u32]) -> Self {
        let mut bytes = 4_u32.to_le_bytes().to_vec();
        bytes.extend((values.len() as u64).to_le_bytes());
        for v in values {
            bytes.extend(v.to_le_bytes());
        }
        self.raw(key, 9, &bytes)
    }

    pub(crate) fn words(self, key: &str, words: &[&str]) -> Self {
        let mut bytes = 8_u32.to_le_bytes().to_vec();
        bytes.extend((words.len() as u64).to_le_bytes());
        for w in words {
            Self::text(&mut bytes, w);
        }
        self.raw(key, 9, &bytes)
    }

    pub(crate) fn tensor(mut self, name: &str, sizes: &[u64], kind: u32) -> Self {
        self.tensors += 1;
        Self::text(&mut self.infos, name);
        self.infos.extend(u32::try_from(sizes.len()).unwrap().to_le_bytes());
        for s in sizes {
            self.infos.extend(s.to_le_bytes());
        }
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend(0_u64.to_le_bytes());
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        let mut all = b"GGUF".to_vec();
        all.extend(3_u32.to_le_bytes());
        all.extend(self.tensors.to_le_bytes());
        all.extend(self.entries.to_le_bytes());
        all.extend(self.body);
        all.extend(self.infos);
        all
    }
}
