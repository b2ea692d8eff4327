//! Sizes and times as a person writes them.

use std::time::Duration;

use super::raw::{RawSize, RawTime};
use crate::memory::{Bytes, GIB, KIB, MIB};

/// Longer than anything that is meant: a year.
const LONGEST: f64 = 365.0 * 86_400.0;

/// A bare number below this was meant in gigabytes; nothing that a model server takes is so small.
const SMALLEST_BARE: i64 = 1 << 20;

/// What is wrong with it, and what to write instead.
pub(super) type Wrong = (String, String);

/// A size in bytes. 1 GB = 1 GiB = 2^30 bytes: it is memory.
pub(super) fn size(raw: &RawSize) -> Result<Bytes, Wrong> {
    match raw {
        RawSize::Bytes(bytes) if (1..SMALLEST_BARE).contains(bytes) => Err((
            format!("{bytes} without a unit is {bytes} bytes."),
            format!("Write a number with its unit: \"{bytes} GB\"."),
        )),
        RawSize::Bytes(bytes) => match u64::try_from(*bytes) {
            Ok(bytes) if bytes > 0 => Ok(Bytes(bytes)),
            _ => Err((format!("{bytes} is not a size."), SIZE.to_owned())),
        },
        RawSize::Text(text) => {
            let wrong = || (format!("{} is not a size.", quoted(text)), SIZE.to_owned());
            let (number, unit) = split(text).ok_or_else(wrong)?;
            let bytes = match unit.to_ascii_lowercase().as_str() {
                "b" | "byte" | "bytes" => 1,
                "k" | "kb" | "kib" => KIB,
                "m" | "mb" | "mib" => MIB,
                "g" | "gb" | "gib" => GIB,
                "t" | "tb" | "tib" => GIB << 10,
                _ => return Err(wrong()),
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked just before"
            )]
            match (number * bytes as f64).round() {
                exact if exact >= 1.0 && exact < 2f64.powi(60) => Ok(Bytes(exact as u64)),
                _ => Err(wrong()),
            }
        }
    }
}

const SIZE: &str =
    "Write a number above zero with its unit, such as \"12 GB\" or \"512 MB\"; 1 GB is 2^30 bytes.";

/// A time. Zero is a time; what it means is the key's business.
pub(super) fn time(raw: &RawTime) -> Result<Duration, Wrong> {
    let seconds = match raw {
        RawTime::Seconds(seconds) => u32::try_from(*seconds).ok().map(f64::from),
        RawTime::Text(text) => split(text).and_then(|(number, unit)| {
            let unit = match unit.to_ascii_lowercase().as_str() {
                "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                _ => return None,
            };
            Some(number * unit)
        }),
    };
    let shown = match raw {
        RawTime::Seconds(seconds) => seconds.to_string(),
        RawTime::Text(text) => quoted(text),
    };
    seconds.filter(|s| (0.0..=LONGEST).contains(s)).map(Duration::from_secs_f64).ok_or_else(|| {
        (
            format!("{shown} is not a time."),
            "Write a number with its unit, such as \"90 s\", \"20 min\" or \"1 h\", or seconds.".to_owned(),
        )
    })
}

/// "12 GB" and "12GB" to 12 and "GB". Finite numbers only.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((number, unit.trim()))
}

/// What the file says, in quotes, without control characters, and no longer than a sentence can bear.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let text = |t: &str| size(&RawSize::Text(t.into()));
        for (written, bytes) in [
            ("12 GB", 12 << 30),
            ("12GB", 12 << 30),
            (" 12  gib ", 12 << 30),
            ("1.5 GiB", 3 << 29),
            ("512 MB", 512 << 20),
            ("36 KB", 36 << 10),
            ("1 TB", 1 << 40),
            ("4096 B", 4096),
            ("12\u{a0}GB", 12 << 30),
        ] {
            assert_eq!(text(written), Ok(Bytes(bytes)), "{written}");
        }
        for bad in [
            "",
            "GB",
            "12",
            "12 XB",
            "-1 GB",
            "0 GB",
            "1,5 GB",
            "1.2.3 GB",
            "inf GB",
            "nan",
            "1e9 GB",
            "9999999999 TB",
            "12 GB each",
            "٣ GB",
        ] {
            assert!(text(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(size(&RawSize::Bytes(1 << 31)), Ok(Bytes(1 << 31)));
        for bad in [0, -1, i64::MIN] {
            assert!(size(&RawSize::Bytes(bad)).is_err());
        }
        let (_, next) = size(&RawSize::Bytes(12)).unwrap_err();
        assert_eq!(next, "Write a number with its unit: \"12 GB\".");
    }

    #[test]
    fn times() {
        let text = |t: &str| time(&RawTime::Text(t.into())).map(|d| d.as_millis());
        for (written, ms) in [
            ("90 s", 90_000),
            ("20 min", 1_200_000),
            ("1h", 3_600_000),
            ("1.5 s", 1500),
            ("2 d", 172_800_000),
            ("0 s", 0),
        ] {
            assert_eq!(text(written), Ok(ms), "{written}");
        }
        for bad in ["", "20", "-1 s", "1 fortnight", "9999 d", "1 h 30 min"] {
            assert!(text(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(time(&RawTime::Seconds(20)), Ok(Duration::from_secs(20)));
        for bad in [-1, i64::MAX] {
            assert!(time(&RawTime::Seconds(bad)).is_err());
        }
    }

    #[test]
    fn what_is_quoted_cannot_draw_on_a_terminal() {
        assert_eq!(quoted("\u{1b}[31m"), "\"\\u{1b}[31m\"");
        assert!(quoted(&"x".repeat(500)).len() < 80);
    }
}
