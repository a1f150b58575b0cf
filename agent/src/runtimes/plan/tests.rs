// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plans for real files of the machine that the tests run on, where it has them: what is found must make sense.

use std::path::{Path, PathBuf};

use super::*;

/// The file that a library's usual link leads to, if the machine has it.
fn library(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

fn plan(path: &Path, is_executable: bool) -> Plan {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let file = File::open(path).expect("it is there");
    Plan::make(&Catalogue::new(), file, name, is_executable, false).expect("it is an ELF file")
}

/// Every probe lies on what its description says: the bytes in the file decode to the same instruction.
#[track_caller]
fn check(plan: &Plan, library: &str, actions: &[Action]) {
    let found = plan.libraries.iter().find(|found| found.library == library).expect("it is recognised");
    for action in actions {
        assert!(found.probes.iter().any(|probe| probe.action == *action), "{action:?}: {found:#?}");
    }
    for probe in &found.probes {
        assert!(!probe.instruction.is_empty() && probe.offset > 0, "{probe:?}");
        assert!(probe.stack == 0 || probe.returns != Returns::Caught, "{probe:?}");
    }
}

const CALLS: [Action; 5] = [Action::Create, Action::Destroy, Action::Handshake, Action::Read, Action::Write];

#[test]
fn the_machine_s_openssl_is_entered_cheaply_and_never_caught_on_its_return() {
    let Some(path) = library("libssl.so.3") else { return eprintln!("skipped: there is no libssl.so.3 here") };
    let plan = plan(&path, false);
    check(&plan, "openssl", &CALLS);
    for action in [Action::Read, Action::Write] {
        let probes: Vec<&Probe> = plan.libraries[0].probes.iter().filter(|probe| probe.action == action).collect();
        let [probe] = probes.as_slice() else {
            panic!("one place for both functions that read, or write: {probes:#?}")
        };
        let Returns::At(ends) = &probe.returns else { panic!("{probe:#?}") };
        // What is not emulated is where it fails.
        let is_cheap = |end: &End| end.is_cheap || end.fails();
        assert!(probe.is_cheap && ends.iter().all(is_cheap), "{probe:#?}");
    }
    assert!(plan.libraries[0].probes.iter().all(|probe| probe.returns != Returns::Caught), "{plan:#?}");
}

#[test]
fn the_machine_s_gnutls_is_recognised() {
    let Some(path) = library("libgnutls.so.30") else { return eprintln!("skipped: there is no libgnutls.so.30 here") };
    let plan = plan(&path, false);
    check(&plan, "gnutls", &CALLS);
    assert!(plan.libraries[0].probes.iter().all(|probe| probe.returns != Returns::Caught), "{plan:#?}");
}

#[test]
fn a_library_of_another_kind_by_a_similar_name_is_none() {
    let Some(path) = library("libnssutil3.so") else { return eprintln!("skipped: there is no NSS here") };
    let file = File::open(path).expect("it is there");
    let plan = Plan::make(&Catalogue::new(), file, "libssl.so", false, false).expect("an ELF file");
    assert!(plan.libraries.is_empty(), "{plan:?}");
}

#[test]
fn records_are_looked_for_only_where_they_are_needed() {
    let Some(path) = library("libcrypto.so.3") else { return eprintln!("skipped: there is no libcrypto.so.3 here") };
    assert!(plan(&path, false).libraries.is_empty());
    let file = File::open(path).expect("it is there");
    let plan = Plan::make(&Catalogue::new(), file, "libcrypto.so.3", false, true).expect("an ELF file");
    check(&plan, "openssl-records", &[Action::Ciphertext]);
}

#[test]
fn an_executable_may_hold_openssl() {
    let path = Path::new("/usr/bin/node");
    if !path.exists() {
        return eprintln!("skipped: there is no node here");
    }
    let named = plan(path, true);
    check(&named, "openssl", &CALLS);
    let caught = |plan: &Plan| plan.libraries[0].probes.iter().any(|probe| probe.returns == Returns::Caught);
    // Node is known to stay on one stack; another program with the same library may not.
    let other = Plan::make(&Catalogue::new(), File::open(path).expect("it is there"), "other", true, false);
    let other = other.expect("it is an ELF file");
    assert!(caught(&named) && !caught(&other), "{named:#?} {other:#?}");
}

/// Builds a Go program as told. Nothing where the machine has no Go.
fn go_program(arguments: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir().expect("a folder");
    let source = "package main\nimport \"net/http\"\nfunc main() { http.ListenAndServeTLS(\"\", \"\", \"\", nil) }\n";
    std::fs::write(folder.path().join("main.go"), source).expect("written");
    std::fs::write(folder.path().join("go.mod"), "module sample\ngo 1.17\n").expect("written");
    let program = folder.path().join("sample");
    let mut build = std::process::Command::new("go");
    build.args(["build", "-o"]).arg(&program).args(arguments).current_dir(&folder).env("GOFLAGS", "");
    let built = build.env("CGO_ENABLED", "0").status().is_ok_and(|status| status.success());
    built.then_some((folder, program))
}

#[test]
fn go_programs_are_read_though_stripped_and_at_any_address() {
    for arguments in [&["-ldflags=-s -w"][..], &["-buildmode=pie", "-ldflags=-s -w"]] {
        let Some((_folder, program)) = go_program(arguments) else {
            return eprintln!("skipped: there is no Go here");
        };
        let plan = plan(&program, true);
        check(&plan, "go", &[Action::GoCreate, Action::GoWrite, Action::GoRead]);
        let found = &plan.libraries[0];
        assert!(found.version.starts_with("go1."), "{found:?}");
        assert!(
            found.probes.iter().all(|probe| probe.is_cheap && probe.returns == Returns::Unseen),
            "{arguments:?} {found:#?}"
        );
        let copies = |probe: &&Probe| matches!(probe.action, Action::GoCopyMemory | Action::GoCopyReader);
        assert_eq!(found.probes.iter().filter(copies).count(), 1, "{arguments:?} {found:#?}");
    }
}
