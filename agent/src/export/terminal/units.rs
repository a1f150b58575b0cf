// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nanoseconds in, words a person reads out: three digits or so, and the unit that needs no zeros.

/// A unit, and the places after the point that its numbers are shown with.
#[derive(Clone, Copy)]
struct Unit {
    nanoseconds: u64,
    name: &'static str,
}

const MICROSECONDS: Unit = Unit { nanoseconds: 1_000, name: "µs" };
const MILLISECONDS: Unit = Unit { nanoseconds: 1_000_000, name: "ms" };
const SECONDS: Unit = Unit { nanoseconds: 1_000_000_000, name: "s" };

/// `850 µs`, `9.1 ms`, `184.2 ms`, `2.40 s`, `3 min 12 s`.
pub fn duration(nanoseconds: u64) -> String {
    let unit = unit_of(nanoseconds);
    match unit.name {
        "µs" => format!("{} µs", nanoseconds / unit.nanoseconds),
        "ms" => format!("{:.1} ms", in_unit(nanoseconds, unit)),
        _ if nanoseconds < 60 * SECONDS.nanoseconds => format!("{:.2} s", in_unit(nanoseconds, unit)),
        _ => {
            let seconds = nanoseconds / SECONDS.nanoseconds;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// The numbers under the axis of a waterfall at its start, its thirds and its end; the last one names the unit of all.
pub fn ticks(nanoseconds: u64) -> [String; 4] {
    let unit = unit_of(nanoseconds);
    let whole = in_unit(nanoseconds, unit);
    let places = match whole {
        _ if whole >= 100.0 => 0,
        _ if whole >= 10.0 => 1,
        _ => 2,
    };
    let third = |count: f64| format!("{:.places$}", whole * count / 3.0);
    ["0".to_owned(), third(1.0), third(2.0), format!("{} {}", third(3.0), unit.name)]
}

/// The largest unit of which there is one, when rounded to what is shown.
fn unit_of(nanoseconds: u64) -> Unit {
    match nanoseconds {
        ..1_000_000 => MICROSECONDS,
        1_000_000..999_950_000 => MILLISECONDS,
        _ => SECONDS,
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn in_unit(nanoseconds: u64, unit: Unit) -> f64 {
    nanoseconds as f64 / unit.nanoseconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let cases = [
            (0, "0 µs"),
            (850_900, "850 µs"),
            (999_999, "999 µs"),
            (1_000_000, "1.0 ms"),
            (184_200_000, "184.2 ms"),
            (999_949_999, "999.9 ms"),
            (999_950_000, "1.00 s"),
            (2_400_000_000, "2.40 s"),
            (192_000_000_000, "3 min 12 s"),
        ];
        for (nanoseconds, expected) in cases {
            assert_eq!(duration(nanoseconds), expected);
        }
    }

    #[test]
    fn ticks_share_the_unit_of_the_whole() {
        assert_eq!(ticks(184_200_000), ["0", "61", "123", "184 ms"]);
        assert_eq!(ticks(2_400_000_000), ["0", "0.80", "1.60", "2.40 s"]);
        assert_eq!(ticks(42_000), ["0", "14.0", "28.0", "42.0 µs"]);
    }
}
