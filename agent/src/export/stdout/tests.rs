// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Readers that read, that pause and that are gone: whatever they do, every span is settled once.

use std::io::{BufRead as _, BufReader, PipeWriter, Read as _, pipe};

use super::*;
use crate::export::terminal::{Limits, Style, sample};

const PATIENT: Duration = Duration::from_secs(30);

fn total(ledger: &Ledger, family: Family, reason: &str) -> u64 {
    let of_reason = |labels: &[(&str, &str)]| labels.iter().all(|(name, value)| *name != "reason" || *value == reason);
    let counters = ledger.snapshot();
    counters.iter().filter(|(of, labels, _)| *of == family && of_reason(labels)).map(|(_, _, total)| total).sum()
}

fn dropped(ledger: &Ledger, reason: &str) -> u64 {
    total(ledger, Family::SpansDropped, reason)
}

fn exported(ledger: &Ledger) -> u64 {
    total(ledger, Family::SpansExported, "")
}

fn json_to(writer: PipeWriter, ledger: &Ledger) -> Stdout {
    Stdout::start(Printer::Json, writer, ledger).unwrap()
}

#[test]
fn json_lines_are_written_and_counted() {
    let (reader, writer) = pipe().unwrap();
    let ledger = Ledger::new();
    let stdout = json_to(writer, &ledger);
    stdout.handle_span(sample());
    let mut lines = BufReader::new(reader).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.starts_with("{\"resourceSpans\":"), "while the daemon runs: {first}");
    for _ in 0..1000 {
        stdout.handle_span(sample());
    }
    let spans = thread::spawn(move || lines.map(|line| line.unwrap().matches("\"spanId\"").count()).sum::<usize>());
    stdout.finish(PATIENT);
    assert_eq!(spans.join().unwrap(), 1000);
    assert_eq!(exported(&ledger), 1001);
}

#[test]
fn waterfalls_are_written_when_their_time_has_come_and_at_the_end() {
    let (mut reader, writer) = pipe().unwrap();
    let ledger = Ledger::new();
    let limits = Limits { quiet: Duration::ZERO, ..Limits::default() };
    let tree = Printer::Tree(Box::new(Terminal::new(Style::plain(), limits)));
    let stdout = Stdout::start(tree, writer, &ledger).unwrap();
    stdout.handle_text("welcome\n".to_owned());
    stdout.handle_span(sample());
    let mut start = [0; 30];
    reader.read_exact(&mut start).unwrap();
    assert!(start.starts_with(b"welcome\n22:13:20.482  GET"));
    stdout.handle_span(sample());
    stdout.finish(PATIENT);
    assert_eq!(exported(&ledger), 2);
}

#[test]
fn a_reader_that_is_gone_ends_the_printing_and_is_counted() {
    let (reader, writer) = pipe().unwrap();
    let ledger = Ledger::new();
    let stdout = json_to(writer, &ledger);
    drop(reader);
    for _ in 0..100 {
        stdout.handle_span(sample());
    }
    let _ = stdout.ended.recv_timeout(PATIENT);
    stdout.handle_span(sample());
    stdout.finish(PATIENT);
    assert_eq!((exported(&ledger), dropped(&ledger, "closed")), (0, 101));
}

#[test]
fn a_reader_that_pauses_stops_nobody_and_memory_is_bounded() {
    let (_paused, writer) = pipe().unwrap();
    let ledger = Ledger::new();
    let stdout = json_to(writer, &ledger);
    for _ in 0..4 * QUEUE {
        stdout.handle_span(sample());
    }
    assert!(dropped(&ledger, "queue_full") > 0);
    stdout.finish(Duration::from_millis(50));
    let lost = dropped(&ledger, "queue_full") + dropped(&ledger, "shutdown");
    assert!(dropped(&ledger, "shutdown") > 0);
    assert_eq!(exported(&ledger) + lost, 4 * QUEUE as u64);
}

/// Takes a byte at a time, and refuses every other call: a terminal that another program made non-blocking.
struct Reluctant(PipeWriter, bool);

impl Write for Reluctant {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.write(&text[..text.len().min(400)]) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_descriptor_that_does_not_wait_gets_all_of_it() {
    let (reader, writer) = pipe().unwrap();
    let ledger = Ledger::new();
    let stdout = Stdout::start(Printer::Json, Reluctant(writer, false), &ledger).unwrap();
    stdout.handle_span(sample());
    stdout.finish(PATIENT);
    let line = BufReader::new(reader).lines().next().unwrap().unwrap();
    assert!(line.ends_with("]}"));
    assert_eq!(exported(&ledger), 1);
}
