// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard output as the configuration wants it.

use std::io;

use crate::{
    config::{Config, Print},
    export::{
        stdout::{Printer, Stdout},
        terminal::{Limits, Style, Terminal},
    },
    ledger::Ledger,
};

/// # Errors
/// Where the printing thread cannot be started.
pub fn start(config: &Config, ledger: &Ledger) -> io::Result<Option<Stdout>> {
    let printer = match config.print {
        _ if config.disabled => return Ok(None),
        Print::None => return Ok(None),
        Print::OtlpJson => Printer::Json,
        Print::Tree => Printer::Tree(Box::new(Terminal::new(Style::of_stdout(), Limits::default()))),
    };
    Stdout::start(printer, io::stdout(), ledger).map(Some)
}
