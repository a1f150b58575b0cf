// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask record-corpus [SCENARIO…]`: makes the recordings of the replay tests again, with real servers and clients.
//!
//! In: nginx, wrk, curl, Python, Node, Go and Java, installed from Debian where that is cheap, else their scenarios are
//! left out with a reason. Out: `tests/recordings/*.recording`. The expected texts are updated by the test, on purpose.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    build, setup,
    steps::{output_of, run as run_step, say},
    workspace::{cargo, find_program, onlooker, root, target},
};

/// Programs of Debian packages that take seconds to install; Node, Go and Java are used where they are.
const PACKAGES: [(&str, &str); 4] =
    [("nginx", "nginx-light"), ("wrk", "wrk"), ("curl", "curl"), ("python3", "python3-venv")];

pub fn run(scenarios: &[&str]) -> Result<()> {
    build::run()?;
    for (program, package) in PACKAGES {
        if find_program(program).is_none() {
            setup::install_package(package, "for the recordings")?;
        }
    }
    let built = target().join("corpus");
    std::fs::create_dir_all(&built)?;
    let make = root().join("tests/recordings/make");
    python_packages(&built)?;
    go_server(&built, &make)?;
    hyper_server(&built)?;
    say("record-corpus: recording");
    run_step(
        Command::new("/usr/bin/python3")
            .args(["-B".as_ref(), make.join("make.py").as_os_str()])
            .args([root().join("tests/recordings"), onlooker(), built])
            .args(scenarios),
    )?;
    say("record-corpus: now `UPDATE_EXPECTED=1 cargo test --test replay`, and read every change");
    Ok(())
}

fn python_packages(built: &Path) -> Result<()> {
    let environment = built.join("venv");
    if environment.join("bin/uvicorn").exists() {
        return Ok(());
    }
    // The system's own: the path of the executable is part of a recording.
    let create = || {
        output_of(Command::new("/usr/bin/python3").args(["-m", "venv"]).arg(&environment))?;
        output_of(Command::new(environment.join("bin/pip")).args(["install", "--quiet", "uvicorn", "requests"]))
    };
    create().or_else(|_| setup::install_package("python3-venv", "for the recordings").and_then(|()| create()))?;
    Ok(())
}

fn go_server(built: &Path, make: &Path) -> Result<()> {
    let Some(go) = find_program("go") else { return Ok(()) };
    output_of(Command::new(go).args(["build", "-o"]).arg(built.join("server-go")).arg(make.join("server.go")))?;
    Ok(())
}

fn hyper_server(built: &Path) -> Result<()> {
    run_step(&mut cargo(["build", "--quiet", "--package", "onlooker-tests", "--example", "hyper-server"]))?;
    std::fs::copy(target().join("debug/examples/hyper-server"), built.join("hyper-server"))?;
    Ok(())
}
