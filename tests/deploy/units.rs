// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The systemd unit and the Compose file, as the programs read them that they are for.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{onlooker::binary, skip};

use super::deployed;

#[test]
fn systemd_knows_every_line_of_the_unit() -> Result<()> {
    let unit = fs::read_to_string(deployed("systemd/onlooker.service"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("onlooker.service");
    // Where the program is on this machine: that it can be started is looked at too.
    let program = fs::canonicalize(binary())?;
    fs::write(&file, unit.replace("/usr/bin/onlooker", program.to_str().context("a plain path")?))?;
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output() else {
        skip("there is no systemd-analyze here");
        return Ok(());
    };
    // It succeeds over keys that it does not know.
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.trim().is_empty(), "{said}");
    Ok(())
}

/// By the library that Docker Compose itself reads with: a field that it does not know is an error.
#[test]
fn compose_knows_every_line_of_its_file() -> Result<()> {
    let Some(program) = env::var_os("ONLOOKER_COMPOSE").map(PathBuf::from) else {
        skip("the reader of Compose files is not there: `cargo xtask cluster` builds it, once per machine");
        return Ok(());
    };
    let output = Command::new(&program).args(["-format", "json"]).arg(deployed("docker/compose.yaml")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let project: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let service = &project["services"]["onlooker"];
    ensure!(service["pid"] == "host" && service["read_only"] == true, "{service}");

    let folder = tempfile::tempdir()?;
    let slip = folder.path().join("compose.yaml");
    fs::write(&slip, "services: {onlooker: {image: a, cap_adds: [BPF]}}")?;
    ensure!(!Command::new(&program).arg(&slip).output()?.status.success(), "it takes a field that is none");
    Ok(())
}
