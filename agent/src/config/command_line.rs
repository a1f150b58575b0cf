// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: the table of options as clap's parser, and arguments in, settings and the command's name out.

use std::{ffi::OsString, path::PathBuf, sync::LazyLock};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};
use clap_complete::Shell;

use super::{
    nearest::nearest,
    options::{Kind, Row, TABLE},
    problem::{ConfigError, Origin, Problem},
    settings::Settings,
};

/// What was asked for, before the configuration is known.
#[derive(Debug)]
pub(super) enum Asked {
    Run,
    Doctor {
        json: bool,
    },
    Check,
    Record {
        file: PathBuf,
    },
    Replay {
        file: PathBuf,
    },
    Completions(Shell),
    Manual,
    OptionsPage,
    /// `--help` or `--version`.
    Text(String),
}

/// The parser; also what help, man page and completions are made from.
pub(super) fn parser() -> Command {
    let file =
        |help| Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf)).help(help);
    Command::new("onlooker")
        .version(VERSION.as_str())
        .about("Watches programs from outside and turns what they say to each other into traces")
        .after_help(
            "Precedence: flag, environment, YAML file, default. The OTEL_* variables are read as the OpenTelemetry \
             specification says. Exit status: 0 done; 2 bad option or configuration; 3 the kernel or the privileges \
             do not allow what was asked; 1 any other failure.",
        )
        .args(TABLE.iter().filter_map(argument))
        .subcommand(Command::new("run").about("Watch, build traces, send them (the same as no command)"))
        .subcommand(
            Command::new("doctor")
                .about(
                    "Say what this kernel, these privileges and this machine allow; with --pid, how TLS is read there",
                )
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print it as one JSON object")),
        )
        .subcommand(
            Command::new("check").about("Read the configuration as a run would, and say where each value comes from"),
        )
        .subcommand(
            Command::new("record")
                .about("Write the raw kernel records to a file while watching")
                .arg(file("File to write")),
        )
        .subcommand(
            Command::new("replay").about("Run a recording through the whole pipeline").arg(file("File to read")),
        )
        .subcommand(Command::new("completions").about("Print completions for a shell").arg(
            Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell)).help("Which shell"),
        ))
        .subcommand(Command::new("man").about("Print the man page"))
        .subcommand(Command::new("options-page").about("Print docs/options.md").hide(true))
}

/// The version, and the commit where the build was told of it.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("ONLOOKER_COMMIT") {
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
    None => env!("CARGO_PKG_VERSION").to_owned(),
});

fn argument(row: &'static Row) -> Option<Arg> {
    let flag = row.flag?;
    let default = row.default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let argument = Arg::new(flag)
        .long(flag)
        .global(true)
        .value_name(row.value)
        .value_parser(value_parser!(OsString))
        .help(format!("{}{default} [env: {}]", row.help, row.environment))
        .help_heading(row.group);
    Some(match row.kind {
        Kind::List | Kind::Pairs | Kind::SecretPairs => argument.action(ArgAction::Append),
        // The flag alone needs no value, and so a value needs `=`.
        Kind::Switch => {
            argument.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOLEAN")
        }
        Kind::One | Kind::Choice | Kind::Address => argument,
    })
}

pub(super) fn read(arguments: impl Iterator<Item = OsString>, settings: &mut Settings) -> Result<Asked, ConfigError> {
    let matches = match parser().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Asked::Text(error.render().to_string()));
        }
        Err(error) => return Err(problem(&error).into()),
    };
    // Global options are copied down to the command's own matches.
    let (name, own) = matches.subcommand().unwrap_or(("run", &matches));
    for row in TABLE {
        offer(row, own, settings);
    }
    let file = || own.get_one::<PathBuf>("file").expect("clap requires it").clone();
    Ok(match name {
        "doctor" => Asked::Doctor { json: own.get_flag("json") },
        "check" => Asked::Check,
        "record" => Asked::Record { file: file() },
        "replay" => Asked::Replay { file: file() },
        "completions" => Asked::Completions(*own.get_one("shell").expect("clap requires it")),
        "man" => Asked::Manual,
        "options-page" => Asked::OptionsPage,
        _ => Asked::Run,
    })
}

fn offer(row: &'static Row, matches: &ArgMatches, settings: &mut Settings) {
    let Some(flag) = row.flag else { return };
    let Some(values) = matches.get_many::<OsString>(flag) else { return };
    let texts: Option<Vec<&str>> = values.map(|value| value.to_str()).collect();
    match texts {
        // An empty variable is no value, but an empty flag is a mistake.
        Some(texts) if texts.iter().all(|text| text.trim().is_empty()) => {
            settings.problems.push(Problem::EmptyFlag { option: row.name() });
        }
        Some(texts) => settings.offer(row, &texts.join(","), Origin::Flag(flag)),
        None => settings.problems.push(Problem::NotText { origin: Origin::Flag(flag) }),
    }
}

/// clap's error as one sentence.
fn problem(error: &clap::Error) -> Problem {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match (error.kind(), text(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(argument)) if argument.starts_with('-') => {
            let flag = argument.split('=').next().unwrap_or_default().to_owned();
            let flags = TABLE.iter().filter_map(|row| row.flag).chain(["help", "version", "json"]);
            Problem::UnknownFlag { nearest: nearest(flag.trim_start_matches('-'), flags), flag }
        }
        (ErrorKind::InvalidSubcommand, _) | (ErrorKind::UnknownArgument, _) => {
            let command =
                text(ContextKind::InvalidSubcommand).or_else(|| text(ContextKind::InvalidArg)).unwrap_or_default();
            let parser = parser();
            let known: Vec<&str> =
                parser.get_subcommands().filter(|known| !known.is_hide_set()).map(Command::get_name).collect();
            let nearest = nearest(&command, known.iter().copied()).map(str::to_owned);
            Problem::UnknownCommand { command, nearest }
        }
        _ => {
            let rendered = error.render().to_string();
            let line = rendered.lines().next().unwrap_or_default();
            let rest: Vec<&str> = rendered.lines().skip(1).map(str::trim).take_while(|line| !line.is_empty()).collect();
            let line = line.strip_prefix("error: ").unwrap_or(line);
            Problem::CommandLine { line: [&[line], rest.as_slice()].concat().join(" ") }
        }
    }
}
