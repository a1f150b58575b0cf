// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: reads the configuration, runs the command, turns failures into an exit status and one sentence.

use std::{
    env,
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use onlooker::{
    config::{self, Command, Invocation},
    doctor, replay, run,
    run::RunError,
};

mod allocator;
#[cfg(all(target_arch = "x86_64", any(test, target_env = "musl")))]
mod copying;

#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator;

fn main() -> ExitCode {
    let read = |path: &std::path::Path| std::fs::read_to_string(path);
    match config::read(env::args_os(), env::vars_os(), read) {
        Ok(invocation) => obey(invocation),
        Err(error) => {
            eprintln!("onlooker: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn obey(Invocation { command, warnings }: Invocation) -> ExitCode {
    let log = match &command {
        Command::Run(config) | Command::Record { config, .. } | Command::Replay { config, .. } => &config.log,
        _ => "info",
    };
    env_logger::Builder::new().parse_filters(log).target(env_logger::Target::Stderr).init();
    for warning in warnings {
        log::warn!("{warning}");
    }
    match command {
        Command::Run(config) => status(run::run(&config, None)),
        Command::Record { file, config } => status(run::run(&config, Some(&file))),
        Command::Replay { file, config } => status(replay::replay(&config, &file)),
        Command::Doctor { json, pids, kubernetes } => {
            let report = doctor::examine(&pids, &kubernetes);
            let text = if json {
                serde_json::to_string_pretty(&report).expect("a report is plain data") + "\n"
            } else {
                report.text()
            };
            print(&text, 0)
        }
        Command::Check(report) => print(&report.text, report.exit_status),
        Command::Print(text) => print(&text, 0),
    }
}

fn status(result: Result<(), RunError>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // The causes may be pages long: the kernel's verifier explains itself at length.
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(inner) = cause {
        log::debug!("{inner}");
        cause = inner.source();
    }
    eprintln!("onlooker: {error}");
    ExitCode::from(error.exit_status())
}

/// A reader that has gone away is no failure.
fn print(text: &str, status: u8) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("onlooker: cannot write to stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(status),
    }
}
