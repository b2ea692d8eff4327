//! Where the lines of the grid are, and what is written at them.

use domain::memory::Unit;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// A place on an axis with its words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick<T> {
    pub(crate) at: T,
    pub(crate) text: String,
}

/// Round amounts of memory from zero to `top` (bytes), at most six of them: halves and doubles, as memory is counted.
pub(crate) fn memory_ticks(top: f64, unit: Unit) -> Vec<Tick<f64>> {
    let one = unit.bytes() as f64;
    let top = if top.is_finite() { top.max(0.0) } else { 0.0 } / one;
    let mut step = 1.0 / 64.0;
    while step * 5.0 < top {
        step *= 2.0;
    }
    let digits = if step >= 1.0 {
        0
    } else if step >= 0.5 {
        1
    } else {
        2
    };
    (0..=5)
        .map(|n| f64::from(n) * step)
        .take_while(|v| *v <= top)
        .map(|v| Tick { at: v * one, text: format!("{v:.digits$}\u{a0}{unit}") })
        .collect()
}

/// The year, month (1 to 12) and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is the last of its year; eras are 400 years of 146 097 days.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

fn month_word(month: i64) -> &'static str {
    const WORDS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    usize::try_from(month - 1).ok().and_then(|n| WORDS.get(n)).copied().unwrap_or("")
}

/// "14:05".
pub(crate) fn time_of_day(time: i64, offset: i64) -> String {
    let second = (time + offset).rem_euclid(DAY);
    format!("{:02}:{:02}", second / HOUR, second % HOUR / MINUTE)
}

/// "21 Nov".
pub(crate) fn date(time: i64, offset: i64) -> String {
    let (_, month, date) = civil((time + offset).div_euclid(DAY));
    format!("{date} {}", month_word(month))
}

/// Round local times between `from` and `to`, at most `most` of them.
pub(crate) fn time_ticks(from: i64, to: i64, offset: i64, most: usize) -> Vec<Tick<i64>> {
    const STEPS: [i64; 16] = [
        MINUTE,
        2 * MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        3 * HOUR,
        4 * HOUR,
        6 * HOUR,
        12 * HOUR,
        DAY,
        2 * DAY,
        7 * DAY,
        14 * DAY,
    ];
    let most = i64::try_from(most.max(2)).unwrap_or(2);
    let span = to.saturating_sub(from);
    if span <= 0 {
        return Vec::new();
    }
    let Some(step) = STEPS.into_iter().find(|step| span / step <= most) else {
        return month_ticks(from, to, offset, most);
    };
    // Weeks begin on a Monday, and 1970 began on a Thursday.
    let shift = offset + if step >= 7 * DAY { 3 * DAY } else { 0 };
    let mut at = (from + shift + step - 1).div_euclid(step) * step - shift;
    let mut ticks = Vec::new();
    while at <= to {
        let midnight = (at + offset).rem_euclid(DAY) == 0;
        let text = if midnight { date(at, offset) } else { time_of_day(at, offset) };
        ticks.push(Tick { at, text });
        at += step;
    }
    ticks
}

/// The beginnings of months; of every second, third … where there are too many.
fn month_ticks(from: i64, to: i64, offset: i64, most: i64) -> Vec<Tick<i64>> {
    let first = (from + offset).div_euclid(DAY);
    let last = (to + offset).div_euclid(DAY);
    let every = [1, 2, 3, 6, 12].into_iter().find(|n| (last - first) / 30 / n <= most).unwrap_or(12);
    (first..=last.min(first + 4000))
        .filter_map(|day| {
            let (year, month, date) = civil(day);
            let text = if month == 1 { year.to_string() } else { month_word(month).to_owned() };
            let at = day * DAY - offset;
            (date == 1 && (month - 1) % every == 0 && at >= from).then_some(Tick { at, text })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, expected) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_513, (2026, 3, 1)),
            (20_778, (2026, 11, 21)),
        ] {
            assert_eq!(civil(day), expected, "{day}");
        }
    }

    #[test]
    fn times_are_local_and_midnight_is_a_date() {
        // 2026-11-21 22:30 UTC, in a zone two hours ahead: local midnight is an hour and a half later.
        let from = 20_778 * DAY + 22 * HOUR + 30 * MINUTE - 2 * HOUR;
        let ticks = time_ticks(from, from + 6 * HOUR, 2 * HOUR, 8);
        let words: Vec<&str> = ticks.iter().map(|t| t.text.as_str()).collect();
        assert_eq!(words, ["23:00", "22 Nov", "01:00", "02:00", "03:00", "04:00"]);
        assert_eq!(time_of_day(from, 2 * HOUR), "22:30");
        assert_eq!(time_of_day(0, -5 * HOUR - 30 * MINUTE), "18:30");
    }

    #[test]
    fn there_are_never_more_ticks_than_asked_for_and_a_year_has_months() {
        let to = 20_778 * DAY + 4711;
        for hours in [1, 2, 6, 24, 168, 720, 8760] {
            for offset in [0, 3600, -34_200] {
                let ticks = time_ticks(to - hours * HOUR, to, offset, 8);
                assert!((1..=10).contains(&ticks.len()), "{hours} h: {}", ticks.len());
                assert!(ticks.windows(2).all(|w| w[0].at < w[1].at));
                assert!(ticks.iter().all(|t| t.at >= to - hours * HOUR && t.at <= to));
            }
        }
        let year = time_ticks(to - 8760 * HOUR, to, 0, 12);
        assert!(year.iter().any(|t| t.text == "2026") && year.iter().any(|t| t.text == "Jul"), "{year:?}");
        assert_eq!(time_ticks(5, 5, 0, 8), []);
    }

    #[test]
    fn memory_is_divided_as_memory_is_counted() {
        let words = |gb: f64, unit: Unit| -> Vec<String> {
            memory_ticks(gb * unit.bytes() as f64, unit)
                .into_iter()
                .map(|t| t.text.replace('\u{a0}', " "))
                .collect()
        };
        assert_eq!(words(120.0, Unit::Gb), ["0 GB", "32 GB", "64 GB", "96 GB"]);
        assert_eq!(words(15.0, Unit::Gb), ["0 GB", "4 GB", "8 GB", "12 GB"]);
        assert_eq!(words(120.0, Unit::Mb), ["0 MB", "32 MB", "64 MB", "96 MB"]);
        assert_eq!(words(2.0, Unit::Gb), ["0.0 GB", "0.5 GB", "1.0 GB", "1.5 GB", "2.0 GB"]);
        assert_eq!(memory_ticks(f64::NAN, Unit::Gb).len(), 1);
    }
}
