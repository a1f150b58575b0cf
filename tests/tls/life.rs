// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Libraries and processes that come, stay and go: late, early, replaced, killed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, PATIENCE, Span, skip};

use super::{
    Told, finish, path,
    program::{Program, Workshop},
    python, source, watch,
};

/// A connection that is open when the watch begins is read from its next request on.
#[test]
fn a_connection_from_before_the_start_is_read() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "interleaved.py", &[])? else { return Ok(()) };
    // The first round opens the connections, which stay; their servers wait inside a read, whose end cannot be seen.
    program.go()?;
    let told = watch(&mut program)?;
    let clients: Vec<&Span> = told.finished.spans.iter().filter(|span| span.kind == "CLIENT").collect();
    let servers: Vec<&Span> = told.finished.spans.iter().filter(|span| span.kind == "SERVER").collect();
    assert_eq!(clients.len(), told.paths.len(), "{}", told.finished.stderr);
    // Of each of the two connections the first request is missing at its server, and told to be so.
    assert_eq!(servers.len(), told.paths.len() - 2, "{}", told.finished.stderr);
    assert_eq!(told.finished.ledger.total("onlooker_exchanges_incomplete_total"), 2, "{}", told.finished.stderr);
    for span in clients.into_iter().chain(servers) {
        assert_eq!(
            (span.text("http.request.method"), span.integer("http.response.status_code")),
            (Some("GET"), Some(200))
        );
        assert!(path(span).is_some_and(|path| told.paths.contains(path)), "{span:#?}");
    }
    Ok(())
}

/// A copy of the machine's library, under a folder of its own, that a program is made to load.
pub fn copied_library(workshop: &Workshop) -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    let original = folders.iter().map(|folder| PathBuf::from(folder).join("libssl.so.3")).find(|path| path.exists())?;
    let copy = workshop.path().join("libssl.so.3");
    fs::copy(original, &copy).ok()?;
    Some(copy)
}

pub fn program_with(workshop: &Workshop, library: &Path) -> Result<Program> {
    script_with(workshop, library, "threads.py", &["4", "5"])
}

/// A script that is made to load a library.
pub fn script_with(workshop: &Workshop, library: &Path, script: &str, arguments: &[&str]) -> Result<Program> {
    let mut command = Command::new("python3");
    command.arg(source(script)).args(arguments);
    command.env("LD_PRELOAD", library);
    Program::start(command, workshop)
}

#[test]
fn a_library_that_was_replaced_on_disk_is_read_where_it_is_mapped() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(library) = copied_library(&workshop) else {
        skip("there is no libssl.so.3 here");
        return Ok(());
    };
    let mut program = program_with(&workshop, &library)?;
    fs::remove_file(&library)?;
    fs::write(&library, "another version")?;
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// A library that nobody had mapped before, in a process that starts after Onlooker.
#[test]
fn a_program_that_starts_later_is_read_from_its_first_request() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(library) = copied_library(&workshop) else {
        skip("there is no libssl.so.3 here");
        return Ok(());
    };
    let mut onlooker = Onlooker::start(&["--exe", "*/python3*"], &[])?;
    let mut program = program_with(&workshop, &library)?;
    let paths = program.go()?;
    finish(&mut onlooker, &paths, 2)?;
    let told = Told { finished: onlooker.stop()?, paths };
    told.assert_exact(&["SERVER", "CLIENT"]);
    Ok(())
}

/// However many processes have a file mapped, it is looked into and probed once.
#[test]
fn processes_that_share_a_file_share_its_probes() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(library) = copied_library(&workshop) else {
        skip("there is no libssl.so.3 here");
        return Ok(());
    };
    let alone = Onlooker::start(&["--exe", "*/python3*"], &[])?;
    let before = alone.metrics()?.total("onlooker_tls_files_total");
    alone.stop()?;
    let programs: Vec<_> = (0..20).map(|_| program_with(&workshop, &library)).collect::<Result<_>>()?;
    let onlooker = Onlooker::start(&["--exe", "*/python3*"], &[])?;
    let files = onlooker.metrics()?.total("onlooker_tls_files_total");
    ensure!(files == before + 1, "{files} files are probed, and {before} without these programs");
    drop(programs);
    onlooker.stop()?;
    Ok(())
}

/// Probed, let go, and killed in the middle: the program neither notices nor changes what it does.
#[test]
fn a_program_does_the_same_while_onlooker_comes_and_goes() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(mut program) = python(&workshop, "threads.py", &["8", "40"])? else { return Ok(()) };
    let expected = program.go()?.len();
    for kill in [true, false, true] {
        let onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
        program.begin()?;
        onlooker.wait_ledger(|ledger| ledger.total("onlooker_exchanges_total") > 5, PATIENCE)?;
        if kill {
            drop(onlooker);
        } else {
            onlooker.stop()?;
        }
        // The program checks each answer by itself.
        ensure!(program.answer()?.len() == expected, "the program did less than before");
    }
    ensure!(program.go()?.len() == expected, "the program did less when nobody watched any more");
    ensure!(program.finish().context("it ends")?, "the program says that something was wrong");
    Ok(())
}
