// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Text that came from elsewhere, made safe and measured: any string in, a string that moves no cursor out.
//!
//! Names, paths and services are chosen by whoever sends a request. Written to a terminal as they are, they could
//! change its title, recolour it, overwrite lines that were printed before, or turn the reading order around.

use unicode_width::UnicodeWidthChar as _;

/// Marks that may stand on one letter. Larger: a name that stacks hundreds paints over the lines around it.
/// Smaller: names in scripts that need two are misspelt.
const MARKS_ON_A_LETTER: usize = 2;

/// Characters looked at. Larger: a path of megabytes is copied for a column of forty. Smaller: wide terminals show less.
const LONGEST: usize = 256;

/// The same text with everything a terminal would obey made visible or left out.
pub fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    let mut marks = 0;
    for character in text.chars().take(LONGEST) {
        match character {
            '\0'..='\x1f' => clean.push(control_picture(character)),
            '\x7f' => clean.push('␡'),
            '\u{80}'..='\u{9f}' => clean.push('\u{fffd}'),
            _ if is_invisible(character) => continue,
            _ if character.width() == Some(0) => {
                marks += 1;
                if marks <= MARKS_ON_A_LETTER {
                    clean.push(character);
                }
                continue;
            }
            _ => clean.push(character),
        }
        marks = 0;
    }
    clean
}

/// ESC becomes ␛ and so on: the pictures lie in the order of the controls, from U+2400.
fn control_picture(control: char) -> char {
    char::from_u32(0x2400 + u32::from(control)).unwrap_or('\u{fffd}')
}

/// Characters with no shape of their own: they reorder, join or hide their neighbours, and terminals differ in how
/// wide they are.
const fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a harmless text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|character| character.width().unwrap_or(0)).sum()
}

/// The text if it fits, else as much of it as does, with `…` for the rest.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = columns.saturating_sub(1);
    for character in text.chars() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or(0)) else { break };
        left = rest;
        cut.push(character);
    }
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// Spaces that make a text of `used` columns `columns` wide.
pub fn padding(used: usize, columns: usize) -> impl Iterator<Item = char> {
    std::iter::repeat_n(' ', columns.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(harmless("\x1b[31mred\x1b]0;title\x07\r\n"), "␛[31mred␛]0;title␇␍␊");
        assert_eq!(harmless("\u{9b}31m"), "\u{fffd}31m");
    }

    #[test]
    fn reading_order_cannot_be_turned_and_marks_cannot_be_stacked() {
        assert_eq!(harmless("a\u{202e}b\u{2066}c\u{200d}d"), "abcd");
        assert_eq!(harmless(&format!("o{}", "\u{301}".repeat(50))), "o\u{301}\u{301}");
    }

    #[test]
    fn wide_letters_are_cut_at_their_columns() {
        assert_eq!(cut("注文一覧", 8), "注文一覧");
        assert_eq!(cut("注文一覧", 6), "注文…");
        assert_eq!(cut("orders", 1), "…");
        assert_eq!(cut("orders", 0), "");
    }

    proptest! {
        #[test]
        fn whatever_comes_no_control_leaves_and_the_width_holds(text in any::<String>(), columns in 0_usize..40) {
            let clean = harmless(&text);
            prop_assert!(!clean.chars().any(char::is_control));
            prop_assert!(width(&cut(&clean, columns)) <= columns);
        }
    }
}
