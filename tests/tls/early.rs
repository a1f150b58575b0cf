// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processes that live for one request: how many of them are probed before their first TLS byte, and that those which are not are
//! counted.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Ledger, Onlooker, PATIENCE, Span};

use super::{
    life, path,
    program::{Nginx, Workshop},
};

/// Which library each process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Library {
    /// The machine's, which is probed before anybody loads it.
    Usual,
    /// A copy that nobody has loaded before: each process is the first of its container's image.
    Fresh,
}

impl Library {
    /// How many are started. Each fresh file is one more to let go of at the end, which takes the kernel a tenth of a second.
    const fn processes(self) -> usize {
        match self {
            Self::Usual => 200,
            Self::Fresh => 40,
        }
    }
}

/// Each process asks for one path, `at_once` of them at a time. Gives how many were seen.
fn run(library: Library, at_once: usize) -> Result<Option<usize>> {
    let processes = library.processes();
    let workshop = Workshop::new()?;
    let (Some(nginx), Some(copy)) = (Nginx::start(&workshop)?, life::copied_library(&workshop)) else {
        return Ok(None);
    };
    let folders: Vec<PathBuf> = (0..processes).map(|number| workshop.path().join(number.to_string())).collect();
    for folder in folders.iter().filter(|_| library == Library::Fresh) {
        fs::create_dir(folder)?;
        fs::copy(&copy, folder.join("libssl.so.3"))?;
    }
    let onlooker = Onlooker::start(&["--exe", "*/curl"], &[])?;
    let paths: Vec<String> = (0..processes).map(|number| format!("/early/{number}")).collect();
    let start = |number: usize| -> Result<Child> {
        let mut curl = Command::new("curl");
        curl.args(["-sSk", "--http1.1"]).arg(format!("https://127.0.0.1:{}{}", nginx.port, paths[number]));
        if library == Library::Fresh {
            curl.env("LD_LIBRARY_PATH", &folders[number]);
        }
        curl.stdout(Stdio::null()).spawn().context("curl is there")
    };
    for burst in (0..processes).collect::<Vec<_>>().chunks(at_once) {
        let curls: Vec<Child> = burst.iter().map(|number| start(*number)).collect::<Result<_>>()?;
        for mut curl in curls {
            ensure!(curl.wait()?.success(), "curl did not get its answer");
        }
    }
    // Who has ended unread is counted when it would have been named; what was read of it in part, as that.
    let counted = |ledger: &Ledger| {
        ledger.total_of("onlooker_tls_unreadable_total", &[("reason", "ended_early")])
            + ledger.total("onlooker_exchanges_incomplete_total")
            + ledger.total_of("onlooker_message_problems_total", &[("problem", "response_without_request")])
    };
    let is_settled = |ledger: &Ledger| counted(ledger) + ledger.total("onlooker_spans_total") >= processes as u64;
    let settled = onlooker.wait_ledger(is_settled, PATIENCE)?;
    let spans = onlooker.stop()?.spans;
    let whole = |span: &&Span| span.integer("http.response.status_code") == Some(200);
    let seen: BTreeSet<&str> = spans.iter().filter(whole).filter_map(path).collect();
    ensure!(
        paths.iter().filter(|path| seen.contains(path.as_str())).count() == seen.len(),
        "others were seen: {seen:?}"
    );
    println!("{library:?}, {at_once} at once: {} of {processes} seen, {} counted", seen.len(), counted(&settled));
    Ok(Some(seen.len()))
}

#[test]
fn short_lived_processes_are_read_or_counted() -> Result<()> {
    for (library, at_once) in [(Library::Usual, 1), (Library::Usual, 20), (Library::Fresh, 1), (Library::Fresh, 20)] {
        let Some(seen) = run(library, at_once)? else { return Ok(()) };
        ensure!(
            library == Library::Fresh || seen == library.processes(),
            "{seen} were read with the machine's own library"
        );
    }
    Ok(())
}
