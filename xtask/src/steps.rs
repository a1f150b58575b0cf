// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running programs as the steps of a task: each says in a line what it does, and fails with the command that failed.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// One line about what comes next.
pub fn say(what: impl AsRef<str>) {
    println!("==> {}", what.as_ref());
}

/// Runs it with its output shown.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs it silently and gives what it printed.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} failed ({})\n{}", shown(command), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or(&program);
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    format!("`{}`", [name.into()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "))
}
