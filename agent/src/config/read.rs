// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Arguments, environment and files in, the command to run out. Pure: the process's own environment is never touched.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::{
    Config, KubernetesConfig,
    command_line::{self, Asked},
    environment, file,
    options::Key,
    problem::{ConfigError, Problem, Warning},
    reference,
    report::CheckReport,
    resolve::{self, resolve},
    settings::Settings,
    values, yaml,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Run(Box<Config>),
    Doctor {
        json: bool,
        /// Processes of which it is told how their TLS is read.
        pids: Vec<u32>,
        kubernetes: KubernetesConfig,
    },
    Check(CheckReport),
    Record {
        file: PathBuf,
        config: Box<Config>,
    },
    Replay {
        file: PathBuf,
        config: Box<Config>,
    },
    /// Write this to stdout and end: help, version, completions, the man page.
    Print(String),
}

/// A command, and what to warn of before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Invocation {
    pub command: Command,
    pub warnings: Vec<Warning>,
}

/// `arguments` begins with the program's name. `files` reads a file whole.
///
/// # Errors
/// Every problem of the command line, the environment and the file; `check` reports those of the last two in its text.
pub fn read(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    files: impl Fn(&Path) -> io::Result<String>,
) -> Result<Invocation, ConfigError> {
    let mut settings = Settings::default();
    let asked = command_line::read(arguments, &mut settings)?;
    let text = match &asked {
        Asked::Text(text) => Some(text.clone()),
        Asked::Completions(shell) => Some(reference::completions(*shell)),
        Asked::Manual => Some(reference::manual()),
        Asked::OptionsPage => Some(reference::options_page()),
        _ => None,
    };
    if let Some(text) = text {
        return Ok(Invocation { command: Command::Print(text), warnings: Vec::new() });
    }
    if let Asked::Doctor { json } = asked {
        let pids = settings.value(Key::Pid, values::pids).unwrap_or_default();
        if !settings.problems.is_empty() {
            return Err(ConfigError { problems: settings.problems });
        }
        // What is wrong with the configuration must not hide what is wrong with the machine: `check` tells.
        environment::read(environment, &mut settings);
        read_file(&mut settings, files);
        let kubernetes = resolve::kubernetes(&mut settings).unwrap_or_default();
        return Ok(Invocation { command: Command::Doctor { json, pids, kubernetes }, warnings: Vec::new() });
    }
    environment::read(environment, &mut settings);
    read_file(&mut settings, files);
    let config = resolve(&mut settings);
    if let Asked::Check = asked {
        let command = Command::Check(CheckReport::of(&settings, config.as_ref()));
        return Ok(Invocation { command, warnings: Vec::new() });
    }
    let Some(config) = config.map(Box::new) else {
        return Err(ConfigError { problems: settings.problems });
    };
    let command = match asked {
        Asked::Record { file } => Command::Record { file, config },
        Asked::Replay { file } => Command::Replay { file, config },
        _ => Command::Run(config),
    };
    Ok(Invocation { command, warnings: settings.warnings })
}

fn read_file(settings: &mut Settings, files: impl Fn(&Path) -> io::Result<String>) {
    let Some(given) = settings.get(Key::Config).cloned() else { return };
    let path = PathBuf::from(given.text);
    match files(&path) {
        Ok(text) => match yaml::parse(&path, &text) {
            Ok(entries) => file::read(&entries, settings),
            Err(problem) => settings.problems.push(*problem),
        },
        Err(error) => settings.problems.push(Problem::Unreadable { origin: given.origin, path, error }),
    }
}
