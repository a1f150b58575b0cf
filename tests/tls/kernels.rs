// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is tested on every kernel with every backend: programs that need nothing of the machine that they run on. Here they are
//! built; in guests, which have no compilers, they lie ready in the folder that `ONLOOKER_TLS_PROGRAMS` names.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, PATIENCE, skip};

use super::{
    Told, build_go, finish,
    libraries::compile,
    life::copied_library,
    program::{Program, Workshop},
};

/// A program that lies ready, or the one that is built now.
fn program(name: &str, build: impl FnOnce() -> Result<Option<PathBuf>>) -> Result<Option<PathBuf>> {
    match env::var_os("ONLOOKER_TLS_PROGRAMS") {
        Some(folder) => Ok(Some(PathBuf::from(folder).join(name)).filter(|program| program.exists())),
        None => build(),
    }
}

/// Starts a program, with libraries from the folder in which its file lies.
fn start(workshop: &Workshop, program: &Path, arguments: &[&str]) -> Result<Program> {
    let mut command = Command::new(program);
    command.args(arguments).env("LD_LIBRARY_PATH", program.parent().context("it lies in a folder")?);
    Program::start(command, workshop)
}

/// Watches programs while one after the other does what it does.
fn watch_all(programs: &mut [Program]) -> Result<Told> {
    let pids: Vec<String> = programs.iter().map(|program| program.pid().to_string()).collect();
    let mut onlooker = Onlooker::start(&["--pid", &pids.join(",")], &[])?;
    let mut told = Vec::new();
    for program in programs {
        told.extend(program.go()?);
    }
    let paths = told.into_iter().collect();
    finish(&mut onlooker, &paths, 2)?;
    Ok(Told { finished: onlooker.stop()?, paths })
}

#[test]
fn go_and_rustls() -> Result<()> {
    if cfg!(target_arch = "aarch64") {
        skip("TLS has not been tried on arm64 yet: its programs were loaded there, not run");
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let rustls = Path::new(env!("CARGO_BIN_EXE_tls-rustls"));
    let mut programs = vec![start(&workshop, rustls, &["1", "6", "3"])?, start(&workshop, rustls, &["2", "12", "2"])?];
    for (name, arguments) in [("https", ["6", "3"]), ("grpc", ["12", "2"])] {
        if let Some(binary) = program(name, || build_go(&workshop, name, "local", &[]))? {
            programs.push(start(&workshop, &binary, &arguments)?);
        }
    }
    watch_all(&mut programs)?.assert_whole();
    Ok(())
}

#[test]
fn openssl_linked_into_a_program() -> Result<()> {
    let workshop = Workshop::new()?;
    let linked = program("linked", || {
        let program = workshop.path().join("linked");
        let options = ["-l:libssl.a", "-l:libcrypto.a", "-pthread", "-ldl"];
        Ok(compile("linked.c", &program, &options).then_some(program))
    })?;
    let Some(linked) = linked else {
        skip("there is no C compiler here, or no libssl.a");
        return Ok(());
    };
    watch_all(&mut [start(&workshop, &linked, &[])?])?.assert_whole();
    Ok(())
}

/// Calls to the library begin and end in any order on one thread. The program ends where it is given another one's answer, and
/// is ended where a call is taken back to another one's caller.
#[test]
fn coroutines_inside_calls_are_read_and_left_alone() -> Result<()> {
    let workshop = Workshop::new()?;
    let built = program("fibers", || {
        let program = workshop.path().join("fibers");
        // A library of its own: on the machine's somebody else may have probes of another kind.
        let is_built = compile("fibers.c", &program, &["-lssl", "-lcrypto"]) && copied_library(&workshop).is_some();
        Ok(is_built.then_some(program))
    })?;
    let Some(built) = built else {
        skip("there is no C compiler here, or no libssl.so.3");
        return Ok(());
    };
    let mut program = start(&workshop, &built, &[])?;
    for kill in [true, false] {
        let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
        let paths = program.go()?;
        finish(&mut onlooker, &paths, 2)?;
        if kill {
            onlooker.kill()?;
            continue;
        }
        let told = Told { finished: onlooker.stop()?, paths };
        told.assert_exact(&["SERVER", "CLIENT"]);
        for client in told.finished.spans.iter().filter(|span| span.kind == "CLIENT") {
            let peer = client.integer("network.peer.port");
            ensure!(peer.is_none() || peer == Some(program.port().into()), "another one's peer: {client:#?}");
        }
    }
    ensure!(!program.go()?.is_empty(), "it did less when nobody watched any more");
    ensure!(program.finish()?, "the program says that something was wrong");
    Ok(())
}

/// A process that nothing has been heard of for long loads a library: it is probed before anything is said through it.
#[test]
fn a_library_that_is_loaded_late() -> Result<()> {
    let workshop = Workshop::new()?;
    let loader = program("loaded", || {
        let (program, library) = (workshop.path().join("loaded"), workshop.path().join("linked.so"));
        let is_built = compile("loaded.c", &program, &["-ldl"])
            && compile("linked.c", &library, &["-shared", "-fPIC", "-DLOADED", "-lssl", "-lcrypto", "-pthread"])
            && copied_library(&workshop).is_some();
        Ok(is_built.then_some(program))
    })?;
    let Some(loader) = loader else {
        skip("there is no C compiler here, or no libssl.so.3");
        return Ok(());
    };
    watch_loaded(&workshop, &loader, "linked.so")?.assert_whole();
    Ok(())
}

/// Watches `loaded.c` from before it loads the library, which lies beside it.
pub fn watch_loaded(workshop: &Workshop, loader: &Path, library: &str) -> Result<Told> {
    let library = loader.with_file_name(library);
    let mut program = start(workshop, loader, &[library.to_str().context("a name")?])?;
    let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
    let known = onlooker.metrics()?.total("onlooker_tls_files_total");
    program.go()?;
    onlooker.wait_ledger(|ledger| ledger.total("onlooker_tls_files_total") > known, PATIENCE)?;
    let paths = program.go()?;
    finish(&mut onlooker, &paths, 2)?;
    Ok(Told { finished: onlooker.stop()?, paths })
}
