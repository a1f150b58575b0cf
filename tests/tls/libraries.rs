// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same library in other places: brought by a wheel, linked into a program, loaded and unloaded.

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, skip};

use super::{
    Told, finish,
    life::{copied_library, program_with},
    program::{Program, Workshop},
    program_of, source, watch,
    web::python_with_packages,
};

/// Builds a file of C; false where the machine cannot.
fn compile(name: &str, output: &Path, options: &[&str]) -> bool {
    let mut compiler = Command::new("cc");
    compiler.arg(source(name)).arg("-O2").arg("-o").arg(output).args(options);
    compiler.output().is_ok_and(|output| output.status.success())
}

#[test]
fn openssl_1_1_in_a_wheel() -> Result<()> {
    let Some(python) = python_with_packages("requirements-bundled.txt")? else { return Ok(()) };
    let workshop = Workshop::new()?;
    let mut command = Command::new(python);
    command.arg(source("bundled.py"));
    let told = watch(&mut Program::start(command, &workshop)?)?;
    told.assert_whole();
    Ok(())
}

#[test]
fn openssl_linked_into_a_program() -> Result<()> {
    let workshop = Workshop::new()?;
    let program = workshop.path().join("linked");
    if !compile("linked.c", &program, &["-l:libssl.a", "-l:libcrypto.a", "-pthread", "-ldl"]) {
        skip("there is no C compiler here, or no libssl.a");
        return Ok(());
    }
    let told = watch(&mut Program::start(Command::new(program), &workshop)?)?;
    told.assert_whole();
    Ok(())
}

/// The program goes on when a library is gone that was probed, and is read when it has come again.
#[test]
fn a_library_that_is_unloaded_again_and_again() -> Result<()> {
    let workshop = Workshop::new()?;
    let library = workshop.path().join("libssl.so.9");
    if !compile("standin.c", &library, &["-shared", "-fPIC"]) {
        skip("there is no C compiler here");
        return Ok(());
    }
    let library = library.to_str().context("a name")?;
    let Some(mut program) = program_of("python3", &workshop, "unloaded.py", &[library])? else { return Ok(()) };
    let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
    let known = onlooker.metrics()?.total("onlooker_tls_files_total");
    // A round that is over before anybody has looked shows no library; where processors are short, several are.
    onlooker_tests::poll_until("the library is found", onlooker_tests::PATIENCE, || {
        program.go().ok()?;
        (onlooker.metrics().ok()?.total("onlooker_tls_files_total") > known).then_some(())
    })?;
    let paths = program.go()?;
    finish(&mut onlooker, &paths, 1)?;
    let finished = onlooker.stop()?;
    ensure!(program.go()?.len() == paths.len(), "the program did less when nobody watched any more");
    ensure!(program.finish()?, "the program says that something was wrong");
    let of_library = |path: &&String| {
        let is_https = |span: &onlooker_tests::Span| span.text("url.full").is_some_and(|url| url.starts_with("https:"));
        finished.spans.iter().filter(|span| is_https(span) && super::path(span) == Some(path)).count() == 1
    };
    let read = paths.iter().filter(of_library).count();
    ensure!(read == paths.len(), "{read} of {} were read: {}", paths.len(), finished.stderr);
    Ok(())
}

/// The code of a library as a process has it in memory, and as the file has it.
fn code(pid: u32, library: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let line =
        maps.lines().find(|line| line.contains(" r-xp ") && line.ends_with(library.to_str().unwrap_or_default()));
    let mut words = line.context("it is mapped")?.split_whitespace();
    let (from, to) = words.next().and_then(|range| range.split_once('-')).context("a range")?;
    let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
    let offset = u64::from_str_radix(words.nth(1).context("an offset")?, 16)?;
    let mut both = (vec![0; (to - from) as usize], vec![0; (to - from) as usize]);
    fs::File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut both.0, from)?;
    // The last page may be larger than the file.
    let read = fs::File::open(library)?.read_at(&mut both.1, offset)?;
    both.0.truncate(read);
    both.1.truncate(read);
    Ok(both)
}

/// Breakpoints are in the code while Onlooker runs, and gone with it, however it ended.
#[test]
fn nothing_stays_in_the_code() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(library) = copied_library(&workshop) else {
        skip("there is no libssl.so.3 here");
        return Ok(());
    };
    let mut program = program_with(&workshop, &library)?;
    for kill in [false, true] {
        let mut onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
        let paths = program.go()?;
        finish(&mut onlooker, &paths, 2)?;
        let (in_memory, in_file) = code(program.pid(), &library)?;
        let changed = in_memory.iter().zip(&in_file).filter(|(memory, file)| memory != file).count();
        ensure!((1..20).contains(&changed), "{changed} bytes of the code are other ones");
        let finished = if kill { onlooker.kill()? } else { onlooker.stop()? };
        if !kill {
            Told { finished, paths }.assert_exact(&["SERVER", "CLIENT"]);
        }
        // The kernel takes a link's probes out when its last descriptor is closed, which a killed process's are by then.
        onlooker_tests::poll_until("the code is as it was", onlooker_tests::PATIENCE, || {
            code(program.pid(), &library).ok().filter(|(in_memory, in_file)| in_memory == in_file)
        })?;
    }
    ensure!(program.finish()?, "the program says that something was wrong");
    Ok(())
}
