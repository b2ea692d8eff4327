//! Progress of a pull in bytes, summed over the layers.

use std::collections::BTreeMap;

use bollard::models::CreateImageInfo;

/// The reference to pull: without a tag an engine would take every tag there is.
pub(super) fn reference(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') || last.contains(':') { image.to_owned() } else { format!("{image}:latest") }
}

#[derive(Debug, Default)]
pub(super) struct PullProgress {
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    done: u64,
    /// Not known before its download has begun.
    total: Option<u64>,
}

impl PullProgress {
    /// Takes a message of the engine's. Bytes done, and in all where every layer's size is known; `None` when the
    /// message changes nothing.
    pub(super) fn take(&mut self, message: &CreateImageInfo) -> Option<(u64, Option<u64>)> {
        let id = message.id.clone()?;
        let status = message.status.as_deref().unwrap_or_default();
        let detail = message.progress_detail.as_ref();
        let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        match status {
            "Pulling fs layer" | "Waiting" => {
                self.layers.entry(id).or_default();
            }
            "Downloading" => {
                let layer = self.layers.entry(id).or_default();
                layer.done = number(detail.and_then(|d| d.current)).unwrap_or(layer.done);
                layer.total = number(detail.and_then(|d| d.total)).filter(|t| *t > 0).or(layer.total);
            }
            "Download complete" | "Verifying Checksum" | "Extracting" | "Pull complete" => {
                let layer = self.layers.entry(id).or_default();
                layer.done = layer.total.unwrap_or(layer.done);
                layer.total = Some(layer.done);
            }
            "Already exists" => {
                self.layers.insert(id, Layer { done: 0, total: Some(0) });
            }
            _ => return None,
        }
        let done = self.layers.values().map(|l| l.done).sum();
        Some((done, self.layers.values().map(|l| l.total).sum()))
    }

    /// The packed bytes that are known of so far: never more than there are in all.
    pub(super) fn known(&self) -> u64 {
        self.layers.values().filter_map(|layer| layer.total).sum()
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn message(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        let known = |n| (n >= 0).then_some(n);
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: Some(ProgressDetail { current: known(current), total: known(total) }),
            error_detail: None,
        }
    }

    #[test]
    fn layers_are_summed_and_the_total_comes_when_all_are_known() {
        let mut progress = PullProgress::default();
        let mut take = |m| progress.take(&m);
        assert_eq!(take(message("latest", "Pulling from library/x", -1, -1)), None);
        assert_eq!(take(message("a", "Pulling fs layer", -1, -1)), Some((0, None)));
        assert_eq!(take(message("b", "Pulling fs layer", -1, -1)), Some((0, None)));
        assert_eq!(take(message("c", "Already exists", -1, -1)), Some((0, None)));
        assert_eq!(take(message("a", "Downloading", 10, 100)), Some((10, None)));
        assert_eq!(take(message("b", "Downloading", 5, 50)), Some((15, Some(150))));
        assert_eq!(take(message("a", "Download complete", -1, -1)), Some((105, Some(150))));
        assert_eq!(take(message("a", "Extracting", 7, 100)), Some((105, Some(150))));
        assert_eq!(take(message("b", "Pull complete", -1, -1)), Some((150, Some(150))));
        assert_eq!(progress.known(), 150);
    }

    #[test]
    fn a_reference_without_tag_is_the_latest() {
        assert_eq!(reference("docker.io/kyuz0/x"), "docker.io/kyuz0/x:latest");
        assert_eq!(reference("127.0.0.1:5000/x"), "127.0.0.1:5000/x:latest");
        assert_eq!(reference("x:1"), "x:1");
        assert_eq!(reference("x@sha256:ab"), "x@sha256:ab");
    }
}
