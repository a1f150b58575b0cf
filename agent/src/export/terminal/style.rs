// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How wide the terminal is, whether it has colours, and which hour its reader's clock shows.

use std::{env, io::IsTerminal as _};

use jiff::{Timestamp, tz::TimeZone};

use crate::moment::WallTime;

/// Columns where none are known: a file, a pipe.
const DEFAULT_WIDTH: u16 = 100;

#[derive(Clone, Debug)]
pub struct Style {
    pub width: u16,
    pub colour: bool,
    pub zone: TimeZone,
}

impl Style {
    /// Plain text of the default width, with times in UTC.
    #[must_use]
    pub const fn plain() -> Self {
        Self { width: DEFAULT_WIDTH, colour: false, zone: TimeZone::UTC }
    }

    /// As standard output is: colours only on a terminal that has some and without `NO_COLOR` (no-color.org: any value
    /// but the empty one), the terminal's width, the machine's time zone.
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = std::io::stdout();
        let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        let wants_none = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = match terminal_size::terminal_size_of(&stdout) {
            Some((terminal_size::Width(columns), _)) if columns > 0 => columns,
            _ => DEFAULT_WIDTH,
        };
        Self { width, colour: stdout.is_terminal() && !is_dumb && !wants_none, zone: TimeZone::system() }
    }

    /// `14:02:11.482`, where the reader is.
    pub(super) fn clock(&self, time: WallTime) -> String {
        let time = i64::try_from(time.0).ok().and_then(|time| Timestamp::from_nanosecond(time.into()).ok());
        let time = time.unwrap_or_default().to_zoned(self.zone.clone());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", time.millisecond())
    }

    /// Appends the text in this tone.
    pub(super) fn paint(&self, line: &mut String, tone: Tone, text: &str) {
        match tone.code() {
            Some(code) if self.colour && !text.is_empty() => {
                line.push_str("\x1b[");
                line.push_str(code);
                line.push('m');
                line.push_str(text);
                line.push_str("\x1b[0m");
            }
            _ => line.push_str(text),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Faint,
    Strong,
    Failed,
    FailedStrong,
    Service(u8),
}

/// Readable on dark and on light backgrounds; red is for errors.
const SERVICE_COLOURS: [&str; 4] = ["36", "35", "32", "34"];

impl Tone {
    /// The same service has the same colour in every trace and in every run.
    pub fn of_service(name: &str) -> Self {
        let sum = name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        Self::Service(sum)
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Faint => Some("2"),
            Self::Strong => Some("1"),
            Self::Failed => Some("31"),
            Self::FailedStrong => Some("1;31"),
            Self::Service(number) => Some(SERVICE_COLOURS[number as usize % SERVICE_COLOURS.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_readers() {
        let time = WallTime(1_700_000_000_123_456_789);
        assert_eq!(Style::plain().clock(time), "22:13:20.123");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(Style { zone, ..Style::plain() }.clock(time), "00:13:20.123");
    }

    #[test]
    fn without_colour_there_is_no_escape() {
        let mut line = String::new();
        Style::plain().paint(&mut line, Tone::Failed, "503 ✗");
        assert_eq!(line, "503 ✗");
        Style { colour: true, ..Style::plain() }.paint(&mut line, Tone::Failed, "503 ✗");
        assert_eq!(line, "503 ✗\x1b[31m503 ✗\x1b[0m");
    }
}
