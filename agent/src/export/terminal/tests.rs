// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The terminal from spans to text, with time as a parameter; what it looks like stands in `snapshots/`.
//!
//! After a deliberate change: `UPDATE_SNAPSHOTS=1 cargo test -p onlooker terminal`, then read the difference.

use std::{env, fs, path::Path, time::Duration};

use proptest::prelude::*;

use super::{samples::Sample, words::width, *};

fn terminal() -> Terminal {
    Terminal::new(Style::plain(), Limits::default())
}

fn printed(samples: &[Sample], style: Style) -> String {
    let mut terminal = Terminal::new(style, Limits::default());
    for sample in samples {
        terminal.handle_span(&sample.released(), Duration::ZERO);
    }
    terminal.finish().text
}

fn check_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/export/terminal/snapshots").join(name);
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "\n{text}");
}

/// The trace of the README: a shop that asks who the customer is, stores an order and is refused a payment once.
fn shop() -> Vec<Sample> {
    let mut spans = vec![
        Sample::server(1, 0..184).of("gateway", "POST /api/orders/{id}").http("/api/orders/17", 201),
        Sample::client(2, 2..11).of("gateway", "GET").http("/verify", 200).under(1),
        Sample::server(3, 2..11).of("auth", "GET").http("/verify", 200).under(2),
        Sample::client(4, 12..164)
            .of("gateway", "orders.v1.Orders/Create")
            .under(1)
            .with("rpc.response.status_code", "OK".into()),
        Sample::server(5, 12..163)
            .of("orders", "orders.v1.Orders/Create")
            .under(4)
            .with("rpc.response.status_code", "OK".into()),
        Sample::client(6, 13..17).of("orders", "INSERT orders").under(5).with("db.system.name", "postgres".into()),
        Sample::client(20, 24..94).of("orders", "POST").http("/charge", 503).under(5),
        Sample::server(21, 24..94).of("payments", "POST").http("/charge", 503).under(20),
        Sample::client(22, 95..161).of("orders", "POST").http("/charge", 200).under(5),
        Sample::server(23, 95..161).of("payments", "POST").http("/charge", 200).under(22),
    ];
    spans.extend((0..6).map(|key| {
        let at = 17 + u64::from(key);
        Sample::client(10 + key, at..at + 1).of("orders", "GET").under(5).with("db.system.name", "redis".into())
    }));
    // As they end: children first.
    spans.reverse();
    spans
}

#[test]
fn the_shop_looks_good() {
    check_snapshot("shop.txt", &printed(&shop(), Style::plain()));
}

#[test]
fn the_shop_fits_narrow_terminals() {
    let mut all = String::new();
    for columns in [80, 60, 40, 24] {
        let text = printed(&shop(), Style { width: columns, ..Style::plain() });
        for line in text.lines() {
            assert!(width(line) <= usize::from(columns), "{columns}: {line}");
        }
        all.push_str(&text);
    }
    check_snapshot("narrow.txt", &all);
}

#[test]
fn the_shop_in_colour_is_the_same_text() {
    let coloured = printed(&shop(), Style { colour: true, ..Style::plain() });
    let mut plain = String::new();
    for (index, piece) in coloured.split("\x1b[").enumerate() {
        plain.push_str(if index == 0 { piece } else { piece.split_once('m').unwrap().1 });
    }
    assert_ne!(coloured, plain);
    assert_eq!(plain, printed(&shop(), Style::plain()));
}

#[test]
fn odd_traces_are_shown_as_they_are() {
    let spans = [
        Sample::server(1, 0..50)
            .of("注文サービス", "GET")
            .http("/注文/一覧/とても長い名前のパスがここにあります/まだ続く", 200),
        Sample::client(2, 10..900)
            .of("注文サービス", "POST")
            .under(1)
            .with("error.type", "connection_reset".into())
            .error(),
        Sample::server(3, 100..110).of("\x1b]0;owned\x07", "GET /\x1b[2J\r\nfake").under(99),
    ];
    let text = printed(&spans, Style::plain());
    assert!(!text.chars().any(|character| character.is_control() && character != '\n'));
    check_snapshot("odd.txt", &text);
}

#[test]
fn a_span_without_a_name_does_not_move_its_columns() {
    let nameless = Sample::server(1, 0..10).of("", "");
    let text = printed(&[nameless], Style { width: 30, ..Style::plain() });
    assert_eq!(text, "22:13:20.482  10.0 ms  1 span\n   10.0 ms\n\n");
}

#[test]
fn a_trace_is_printed_when_its_parents_are_there_and_it_is_quiet() {
    let mut terminal = terminal();
    let at = Duration::from_millis;
    terminal.handle_span(&Sample::client(2, 1..9).under(1).released(), at(0));
    assert_eq!(terminal.poll_text(at(5_000)), None, "its parent is still open");
    terminal.handle_span(&Sample::server(1, 0..10).released(), at(5_000));
    assert_eq!(terminal.poll_text(at(5_200)), None, "another span may come");
    let printout = terminal.poll_text(at(5_300)).unwrap();
    assert_eq!((printout.shown, printout.left_out), (2, 0));
    assert!(printout.text.contains("  2 spans  trace 07abab"), "{}", printout.text);
    assert!(terminal.is_idle());
}

#[test]
fn parents_that_never_come_are_waited_for_and_named() {
    let mut terminal = terminal();
    terminal.handle_span(&Sample::client(2, 1..9).under(1).released(), Duration::ZERO);
    assert_eq!(terminal.poll_text(Duration::from_millis(9_999)), None);
    let printout = terminal.poll_text(Duration::from_secs(10)).unwrap();
    assert!(printout.text.contains("1 parent never seen"), "{}", printout.text);
}

#[test]
fn a_late_span_is_a_block_of_its_own_that_says_so() {
    let mut terminal = terminal();
    terminal.handle_span(&Sample::server(1, 0..10).released(), Duration::ZERO);
    terminal.poll_text(Duration::from_secs(1)).unwrap();
    terminal.handle_span(&Sample::client(2, 5..12).under(1).released(), Duration::from_secs(1));
    let printout = terminal.poll_text(Duration::from_secs(2)).unwrap();
    assert!(printout.text.contains("late, after their trace was printed:  1 span"), "{}", printout.text);
    assert_eq!(printout.shown, 1);
}

#[test]
fn past_twenty_traces_a_second_the_rest_is_counted() {
    let mut terminal = terminal();
    for trace in 0..25 {
        terminal.handle_span(&Sample::server(1, 0..10).in_trace(trace).released(), Duration::ZERO);
        terminal.handle_span(&Sample::client(2, 1..2).under(1).error().in_trace(trace).released(), Duration::ZERO);
    }
    let printout = terminal.poll_text(Duration::from_secs(1)).unwrap();
    assert_eq!((printout.shown, printout.left_out), (40, 10));
    assert_eq!(printout.text.matches("  trace ").count(), 20);
    terminal.handle_span(&Sample::client(3, 1..2).under(1).in_trace(24).released(), Duration::from_secs(1));
    let printout = terminal.poll_text(Duration::from_secs(2)).unwrap();
    assert_eq!(printout.text, "… and 5 more traces in that second, 11 spans, 5 errors\n\n");
    assert_eq!((printout.shown, printout.left_out), (0, 1));
    assert!(terminal.is_idle());
}

#[test]
fn past_forty_rows_the_rest_is_counted() {
    let mut samples = vec![Sample::server(1, 0..200)];
    let names = (0..60).map(|name| format!("step {name}"));
    samples.extend((2..).zip(names).map(|(id, name)| Sample::client(id, 0..u64::from(id)).of("a", &name).under(1)));
    let mut terminal = terminal();
    for sample in &samples {
        terminal.handle_span(&sample.released(), Duration::ZERO);
    }
    let printout = terminal.finish();
    assert_eq!((printout.shown, printout.left_out), (40, 21));
    assert!(printout.text.ends_with("… and 21 more spans\n\n"), "{}", printout.text);
}

#[test]
fn what_is_held_is_bounded_and_every_span_is_settled() {
    let limits = Limits { held_spans: 10, traces_per_second: 3, ..Limits::default() };
    let mut terminal = Terminal::new(Style::plain(), limits);
    let mut settled = 0;
    for span in 0..=200 {
        terminal.handle_span(&Sample::client(span, 0..9).under(250).in_trace(span / 2).released(), Duration::ZERO);
        let printout = terminal.poll_text(Duration::ZERO).unwrap_or_default();
        settled += printout.shown + printout.left_out;
        assert!(u64::from(span) + 1 - settled <= 11);
    }
    let printout = terminal.finish();
    assert_eq!(settled + printout.shown + printout.left_out, 201);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let ids = (0..30_u8, 0..30_u8, 0..3_u8);
    let times = (0..300_u64, 0..300_u64);
    (ids, times, any::<[bool; 3]>(), any::<String>(), any::<String>(), 100..600_i64).prop_map(
        |((id, parent, trace), (start, length), [is_client, is_remote, has_path], service, name, code)| {
            let span = if is_client { Sample::client } else { Sample::server }(id, start..start + length);
            let span = span.under(parent).in_trace(trace).of(&service, &name);
            let span = if is_remote { span.remote() } else { span };
            if has_path { span.http(&name, code) } else { span }
        },
    )
}

proptest! {
    #[test]
    fn whatever_spans_come_the_lines_fit_and_every_span_is_settled(
        samples in prop::collection::vec(any_sample(), 0..60), columns in 1..130_u16, rows in 1..50_usize
    ) {
        let limits = Limits { rows, held_spans: 40, ..Limits::default() };
        let mut terminal = Terminal::new(Style { width: columns, ..Style::plain() }, limits);
        let mut printouts = Vec::new();
        for (sample, now) in samples.iter().zip((0..).step_by(200).map(Duration::from_millis)) {
            terminal.handle_span(&sample.released(), now);
            printouts.extend(terminal.poll_text(now));
        }
        printouts.push(terminal.finish());
        let settled: u64 = printouts.iter().map(|printout| printout.shown + printout.left_out).sum();
        prop_assert_eq!(settled, samples.len() as u64);
        let lines = printouts.iter().flat_map(|printout| printout.text.lines());
        for line in lines.filter(|line| !line.starts_with('…') && !line.contains("  trace ")) {
            // A name's first letter and the longest duration are always there.
            prop_assert!(width(line) <= usize::from(columns).max(14), "{columns}: {line}");
        }
    }
}
