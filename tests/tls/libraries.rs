// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The same library in other places: brought by a wheel, loaded and unloaded.

use std::{
    env, fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, PATIENCE, poll_until, skip};

use super::{
    Told, finish,
    kernels::watch_loaded,
    life::{copied_library, program_with, script_with},
    program::{Program, Workshop},
    program_of, source, watch,
    web::python_with_packages,
};

/// Builds a file of C; false where the machine cannot.
pub fn compile(name: &str, output: &Path, options: &[&str]) -> bool {
    let mut compiler = Command::new("cc");
    compiler.arg(source(name)).arg("-O2").arg("-o").arg(output).args(options);
    compiler.output().is_ok_and(|output| output.status.success())
}

/// A wheel for an older Python than this one, in a folder of its own: what it has brought along is no module.
fn unpacked_wheel(workshop: &Workshop, package: &str) -> Option<PathBuf> {
    let folder = workshop.path().join(package);
    let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", package, "-d"]).arg(&folder);
    download.args(["--python-version", "36", "--abi", "cp36m", "--platform", "manylinux1_x86_64"]);
    if !ran(&mut download) {
        return None;
    }
    let wheel = fs::read_dir(&folder).ok()?.flatten().next()?.path();
    ran(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&folder)).then_some(folder)
}

/// Each beside Python's own, and then all three in one process.
#[test]
fn openssl_1_0_and_1_1_in_wheels() -> Result<()> {
    let workshop = Workshop::new()?;
    let mut folders = Vec::new();
    for (package, libraries) in
        [("psycopg2-binary==2.7.7", "psycopg2/.libs"), ("psycopg2-binary==2.8.6", "psycopg2_binary.libs")]
    {
        match unpacked_wheel(&workshop, package) {
            Some(folder) => folders.push(folder.join(libraries)),
            None => skip(&format!("{package} cannot be had here")),
        }
    }
    let alone = folders.iter().map(std::slice::from_ref);
    let together = (folders.len() > 1).then_some(folders.as_slice());
    for folders in alone.chain(together) {
        let mut command = Command::new("python3");
        command.arg(source("bundled.py")).args(folders).env("LD_LIBRARY_PATH", env::join_paths(folders)?);
        let told = watch(&mut Program::start(command, &workshop)?)?;
        told.assert_exact(&["SERVER", "CLIENT"]);
        told.assert_bound();
    }
    Ok(())
}

/// Files and sockets in clear pass the same functions.
#[test]
fn nss_under_curl() -> Result<()> {
    let workshop = Workshop::new()?;
    if !Command::new("python3")
        .args(["-c", "import ctypes; ctypes.CDLL('libcurl-nss.so.4')"])
        .output()?
        .status
        .success()
    {
        skip("there is no curl with NSS here");
        return Ok(());
    }
    let Some(mut program) = program_of("python3", &workshop, "nss.py", &[])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_whole();
    Ok(())
}

/// Its records are carried to the sockets by an event loop.
#[test]
fn s2n_in_a_wheel() -> Result<()> {
    let Some(python) = python_with_packages("requirements-s2n.txt")? else { return Ok(()) };
    let workshop = Workshop::new()?;
    let mut command = Command::new(python);
    command.arg(source("s2n.py"));
    let told = watch(&mut Program::start(command, &workshop)?)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
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
    poll_until("the library is found", PATIENCE, || {
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

/// Until a library's code is what its file says, in a process.
fn wait_untouched(program: &Program, library: &Path) -> Result<()> {
    poll_until("the code is as it was", PATIENCE, || {
        code(program.pid(), library).ok().filter(|(in_memory, in_file)| in_memory == in_file)
    })
    .map(drop)
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
        wait_untouched(&program, &library)?;
    }
    ensure!(program.finish()?, "the program says that something was wrong");
    Ok(())
}

/// Threads of a process that wait in `read` for what comes on a descriptor other than stdin.
fn readers(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waits = |thread: &fs::DirEntry| {
        let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
        let mut words = call.split_whitespace();
        words.next().and_then(|number| number.parse().ok()) == Some(libc::SYS_read)
            && words.next().is_some_and(|first| first != "0x0")
    };
    threads.filter(|thread| waits(thread)).count()
}

/// The return addresses of calls that are under way lead to the kernel then, which has to take the threads back to where they
/// came from, whoever has asked for it and is gone meanwhile.
#[test]
fn onlooker_goes_while_threads_are_inside_a_read() -> Result<()> {
    const THREADS: usize = 8;
    let workshop = Workshop::new()?;
    let Some(library) = copied_library(&workshop) else {
        skip("there is no libssl.so.3 here");
        return Ok(());
    };
    let mut program = script_with(&workshop, &library, "held.py", &[&THREADS.to_string()])?;
    for kill in [true, false, true] {
        let onlooker = Onlooker::start(&["--pid", &program.pid().to_string()], &[])?;
        program.go()?;
        poll_until("all wait for an answer", PATIENCE, || (readers(program.pid()) >= THREADS).then_some(()))?;
        if kill {
            onlooker.kill()?;
        } else {
            ensure!(onlooker.stop()?.status.success(), "it did not end well");
        }
        wait_untouched(&program, &library)?;
        // It compares the answers with what it has asked for, and ends where they differ.
        ensure!(program.go()?.len() == THREADS, "the program did less than it was told to");
    }
    program.go()?;
    ensure!(program.go()?.len() == THREADS, "the program did less when nobody watched any more");
    ensure!(program.finish()?, "the program says that something was wrong");
    Ok(())
}

/// .NET's shim by a stand-in of its name: it hands everything to the machine's OpenSSL, and carries the records itself.
#[test]
fn a_shim_as_the_one_of_dotnet() -> Result<()> {
    const SHIM: &str = "libSystem.Security.Cryptography.Native.OpenSsl.so";
    let workshop = Workshop::new()?;
    let (program, library) = (workshop.path().join("loaded"), workshop.path().join(SHIM));
    let options = ["-shared", "-fPIC", "-DLOADED", "-DCARRIED", "-lssl", "-lcrypto", "-pthread"];
    if !compile("loaded.c", &program, &["-ldl"]) || !compile("linked.c", &library, &options) {
        skip("there is no C compiler here, or no OpenSSL to compile with");
        return Ok(());
    }
    if copied_library(&workshop).is_none() {
        skip("there is no libssl.so.3 here");
        return Ok(());
    }
    watch_loaded(&workshop, &program, SHIM)?.assert_whole();
    Ok(())
}
