//! How long to wait before asking again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(30);
/// Who asks for more patience than this is asked again after it.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// After the `failures`-th failure in a row (from 1) that brought no byte. `chance` is from 0 to 1 and spreads those
/// who lost the same network at the same time.
pub fn back_off(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    doubled.mul_f64(0.5f64.mul_add(chance.clamp(0.0, 1.0), 0.5))
}

/// How long a Hub asks to wait: `Retry-After` in seconds or as a date, else what is left of the window in
/// `RateLimit: "api";r=0;t=55`. `unix_now`: seconds since 1970.
pub fn asked(retry_after: Option<&str>, rate_limit: Option<&str>, unix_now: u64) -> Option<Duration> {
    let seconds = retry_after.and_then(|text| {
        let text = text.trim();
        text.parse::<u64>().ok().or_else(|| Some(date(text)?.saturating_sub(unix_now)))
    });
    let seconds = seconds.or_else(|| {
        // Several windows may be listed; the one that is used up and lasts longest counts.
        rate_limit?
            .split(',')
            .filter_map(window)
            .filter(|(left, _)| *left == 0)
            .map(|(_, seconds)| seconds)
            .max()
    });
    // A window that ends this second has not ended yet.
    seconds.map(|s| Duration::from_secs(s.max(1)).min(LONGEST_ASKED))
}

/// `"api";r=0;t=55` → what is left, and for how many seconds.
fn window(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        text.split(';')
            .skip(1)
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')?.trim().parse().ok())
    };
    Some((value("r")?, value("t")?))
}

/// "Wed, 21 Oct 2026 07:28:00 GMT" in seconds since 1970 (RFC 9110, 5.6.7, the one form that is still sent).
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.strip_suffix(" GMT")?.split(' ');
    let day: u64 = parts.next()?.parse().ok().filter(|d| (1..=31).contains(d))?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|m| *m == name)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|y| (1970..=9999).contains(y))?;
    let mut clock = parts.next()?.split(':').map(|n| n.parse::<u64>().ok().filter(|n| *n <= 60));
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    // Days since 1970 of a date of the Gregorian calendar, the year counted from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    Some(days.checked_sub(719_468)? * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_failure_waits_longer_up_to_a_bound() {
        let waits: Vec<f64> = (1..12).map(|n| back_off(n, 1.0).as_secs_f64()).collect();
        assert_eq!(waits, [0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0, 30.0]);
        assert_eq!(back_off(1, 0.0), Duration::from_millis(200));
        assert_eq!(back_off(u32::MAX, 0.0), Duration::from_secs(15));
        assert_eq!(back_off(0, 7.0), Duration::from_millis(400));
    }

    #[test]
    fn what_the_hub_asks_for() {
        let cases = [
            (Some("7"), None, Some(7)),
            (Some(" 7 "), Some(r#""api";r=0;t=55"#), Some(7)),
            (None, Some(r#""api";r=0;t=55"#), Some(55)),
            (None, Some(r#""api";r=12;t=55"#), None),
            (None, Some(r#""api";r=0;t=55, "resolvers";r=0;t=80"#), Some(80)),
            (None, Some(r#""api"; r=0; t=0"#), Some(1)),
            (Some("soon"), None, None),
            (Some("soon"), Some(r#""api";r=0;t=3"#), Some(3)),
            (Some("99999999999"), None, Some(3600)),
            (Some("-5"), None, None),
            (Some("Wed, 21 Oct 2026 07:28:30 GMT"), None, Some(30)),
            (Some("Wed, 21 Oct 2026 07:00:00 GMT"), None, Some(1)),
            (None, None, None),
            (None, Some("r=0"), None),
        ];
        // Wed, 21 Oct 2026 07:28:00 GMT
        let now = 1_792_567_680;
        for (retry, limit, seconds) in cases {
            assert_eq!(asked(retry, limit, now), seconds.map(Duration::from_secs), "{retry:?} {limit:?}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Tue, 29 Feb 2028 12:00:00 GMT"), Some(1_835_438_400));
        for bad in ["", "Thu, 01 Foo 1970 00:00:00 GMT", "Thu, 32 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(a in "\\PC{0,60}", b in "\\PC{0,60}", now: u64) {
            if let Some(wait) = asked(Some(&a), Some(&b), now) {
                prop_assert!(wait >= Duration::from_secs(1) && wait <= LONGEST_ASKED);
            }
        }
    }
}
