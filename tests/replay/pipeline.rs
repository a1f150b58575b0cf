// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A recording in, the spans that leave and the ledger out: the stages are Onlooker's own, standard output is a buffer.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use onlooker::{
    capture::Recording,
    config::{self, Command, Config},
    export::{
        Outputs,
        stdout::{Printer, Stdout},
    },
    ledger,
    replay::through,
};
use onlooker_tests::{Ledger, PATIENCE, Span, spans::parse_line};

/// The configuration of somebody who configures nothing.
fn config() -> Config {
    let arguments = ["onlooker", "replay", "FILE"].map(Into::into);
    let invocation = config::read(arguments.into_iter(), std::iter::empty(), |_| Err(io::ErrorKind::NotFound.into()));
    match invocation.expect("nothing is wrong with it").command {
        Command::Replay { config, .. } => *config,
        other => panic!("{other:?}"),
    }
}

pub fn replay(recording: &Recording) -> (Vec<Span>, Ledger) {
    let ledger = ledger::Ledger::new();
    let page = Page::default();
    let stdout = Stdout::start(Printer::Json, page.clone(), &ledger).expect("a thread can be started");
    let outputs = through(&config(), &ledger, recording, Outputs::new(Some(stdout), None, &ledger));
    outputs.stdout.expect("it was given").finish(PATIENCE);
    let text = page.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::str::from_utf8(&text).expect("JSON is UTF-8");
    (text.lines().flat_map(|line| parse_line(line).expect("OTLP/JSON")).collect(), Ledger::parse(&ledger.lines()))
}

/// Spans built, whether or not anything takes them.
pub fn count_spans(recording: &Recording) -> u64 {
    let ledger = ledger::Ledger::new();
    drop(through(&config(), &ledger, recording, Outputs::new(None, None, &ledger)));
    Ledger::parse(&ledger.lines()).total("onlooker_spans_total")
}

/// What was printed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
