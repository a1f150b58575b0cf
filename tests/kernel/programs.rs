// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every program, in every combination of what it is told when it is loaded: the verifier sees another program each time.

use std::{env, io::Write as _};

use anyhow::{Context as _, Result, ensure};
use onlooker::{
    capture::{Backend, Verified, verify},
    config::BackendChoice,
};

/// The backends that this run is about: the one that it was given, or all that this kernel has.
fn verified() -> Result<Vec<(Backend, Vec<Verified>)>> {
    let all = Backend::candidates(BackendChoice::Auto);
    if let Ok(wanted) = env::var("ONLOOKER_BACKEND") {
        let backend = all.iter().find(|backend| backend.name() == wanted).with_context(|| format!("no {wanted}"))?;
        return Ok(vec![(*backend, verify(*backend)?)]);
    }
    let verified: Vec<_> = all.iter().filter_map(|&backend| Some((backend, verify(backend).ok()?))).collect();
    ensure!(!verified.is_empty(), "no backend loads: {:#?}", verify(Backend::Syscall));
    Ok(verified)
}

/// Prints a line for each that differs from the one with all fields, which `cargo xtask vm` makes a table of.
#[test]
fn every_program_loads_whatever_it_is_told() -> Result<()> {
    for (backend, verified) in verified()? {
        let all_fields =
            |program: &str| verified.iter().find(|first| first.program == program).map(|first| first.walked);
        let mut seen = 0;
        for Verified { program, combination, walked, bytes } in &verified {
            let differs = Some(*walked) != all_fields(program) || combination == &verified[0].combination;
            seen += usize::from(walked.is_some_and(|walked| walked > 0));
            if let (true, Some(walked), Some(bytes)) = (differs, walked, bytes) {
                let _ = writeln!(
                    std::io::stderr(),
                    "program: {}\t{program}\t{combination}\t{walked}\t{}",
                    backend.name(),
                    bytes / 8
                );
            }
        }
        ensure!(seen > 0, "{}: the verifier says of no program what it has walked", backend.name());
    }
    Ok(())
}
