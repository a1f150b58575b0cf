// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `observe` profile: its capabilities, as the manifests name them, are enough, and each of them is for something.
//!
//! What is watched belongs to another user, in a folder that nobody else may enter, as in the pods of a cluster.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, fs::chown, process::CommandExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Finished, Onlooker, PATIENCE, ServerProcess, Span, skip};

use super::{
    bracketed,
    container::{Container, Rights},
    deployed,
    image::Image,
    memory::MemoryGroup,
    program::{Program, Workshop},
};

const MANIFEST: &str = "kubernetes/base/daemonset.yaml";

/// `nobody`, whom root without capabilities may not look at.
const OTHER_USER: u32 = 65534;

/// What its environment says, which only its owner may read.
const SERVICE: &str = "named-by-itself";

fn observe() -> Result<Vec<String>> {
    bracketed(MANIFEST, "add:")
}

#[test]
fn all_ways_to_install_it_give_the_same_capabilities() -> Result<()> {
    let names = observe()?;
    assert_eq!(names, bracketed("helm/onlooker/templates/daemonset.yaml", "add:")?);
    assert_eq!(names, bracketed("docker/compose.yaml", "cap_add:")?);
    let unit = fs::read_to_string(deployed("systemd/onlooker.service"))?;
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let of_unit: Vec<String> = line.unwrap_or_default().split(' ').map(|name| name.replace("CAP_", "")).collect();
    assert_eq!(names, of_unit);
    Ok(())
}

/// Programs of another user.
struct Watched {
    http: ServerProcess,
    tls: Vec<(&'static str, Program)>,
}

impl Watched {
    fn start(workshop: &Workshop) -> Result<Self> {
        let as_other = |mut command: Command| {
            command.uid(OTHER_USER).gid(OTHER_USER).env("OTEL_SERVICE_NAME", SERVICE);
            command
        };
        let server = workshop.path().join("sample-server");
        fs::copy(ServerProcess::program()?, &server)?;
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tls/programs");
        let mut tls = Vec::new();
        // Its OpenSSL is the machine's.
        let python = Path::new("/usr/bin/python3");
        let go = workshop.path().join("go");
        let built = Command::new("go")
            .args(["build", "-mod=readonly", "-o"])
            .arg(&go)
            .current_dir(programs.join("https"))
            .env("CGO_ENABLED", "0")
            .status();
        let scripts = workshop.path().join("scripts");
        fs::create_dir(&scripts)?;
        for script in ["common.py", "threads.py"] {
            fs::copy(programs.join(script), scripts.join(script))?;
        }
        lock_up(workshop.path())?;
        let http = ServerProcess::start_as(as_other(Command::new(server)))?;
        if python.exists() {
            let mut command = as_other(Command::new(python));
            command.arg(scripts.join("threads.py")).args(["4", "4"]);
            tls.push(("OpenSSL", Program::start(command, workshop)?));
        } else {
            skip("there is no /usr/bin/python3 here, which speaks TLS by OpenSSL");
        }
        if built.is_ok_and(|status| status.success()) {
            let mut command = as_other(Command::new(go));
            command.args(["4", "4"]);
            tls.push(("Go", Program::start(command, workshop)?));
        } else {
            skip("Go cannot build here");
        }
        Ok(Self { http, tls })
    }

    fn ports(&self) -> String {
        let ports = self.tls.iter().map(|(_, program)| program.port()).chain([self.http.address().port()]);
        ports.map(|port| port.to_string()).collect::<Vec<_>>().join(",")
    }

    fn pids(&self) -> Vec<u32> {
        self.tls.iter().map(|(_, program)| program.pid()).chain([self.http.pid()]).collect()
    }

    /// A request in the clear, and what the others do. Answers with what was asked for in the clear and over TLS.
    fn work(&mut self) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let path = "/in/the/clear";
        let mut stream = TcpStream::connect(self.http.address())?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        let mut over_tls = BTreeSet::new();
        for (_, program) in &mut self.tls {
            over_tls.extend(program.go()?);
        }
        Ok(([path.to_owned()].into(), over_tls))
    }
}

/// Gives everything in a folder to the other user, and to nobody else.
fn lock_up(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { lock_up(&path)? } else { lock_one(&path)? }
    }
    lock_one(folder)
}

fn lock_one(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    Ok(chown(path, Some(OTHER_USER), Some(OTHER_USER))?)
}

/// Paths of this end's spans.
fn paths(spans: &[Span], kind: &str) -> BTreeSet<String> {
    spans.iter().filter(|span| span.kind == kind).filter_map(Span::path).map(str::to_owned).collect()
}

/// With the capabilities of the profile but one.
fn without(image: &Image, capability: &str) -> Result<Container> {
    let mut names = observe()?;
    names.retain(|name| name != capability);
    Container::new(image, Rights::Only(&names))
}

fn named(finished: &Finished) -> BTreeSet<&str> {
    finished.spans.iter().filter_map(Span::service).collect()
}

#[test]
fn the_observe_profile_sees_programs_of_other_users_in_the_clear_and_over_tls() -> Result<()> {
    let (image, workshop) = (Image::unpack()?, Workshop::new()?);
    let mut watched = Watched::start(&workshop)?;
    let limit = memory_limit()?;
    let group = MemoryGroup::create(limit)?;
    let mut command = Container::new(&image, Rights::Only(&observe()?))?.within(group.as_ref())?.command();
    command.args(["--open-port", &watched.ports()]);
    let mut onlooker = Onlooker::start_as(command, &[], &[])?;
    let (clear, over_tls) = watched.work()?;
    let all: BTreeSet<String> = clear.union(&over_tls).cloned().collect();
    let is_whole = |spans: &[Span]| paths(spans, "SERVER") == all && paths(spans, "CLIENT") == over_tls;
    onlooker.wait_spans(is_whole, PATIENCE).with_context(|| format!("{all:#?}"))?;
    let finished = onlooker.stop()?;
    finished.ledger.assert_conserved("stdout");
    assert_eq!(named(&finished), BTreeSet::from([SERVICE]), "the environment of another user is read");
    for span in &finished.spans {
        assert!(span.resource.contains_key("process.executable.name"), "{span:#?}");
    }
    match group {
        Some(group) => {
            let peak = group.peak()?;
            println!("{} MiB of {} at most", peak >> 20, limit >> 20);
            // Half of it is left for what a busy node adds: tables, and the page cache of what is looked at.
            ensure!(peak < limit / 2, "{} MiB at most, {} are allowed", peak >> 20, limit >> 20);
        }
        None => skip("the memory limit was not tried: no control group for it can be made here"),
    }
    Ok(())
}

/// `memory:` of the limits.
fn memory_limit() -> Result<u64> {
    let text = fs::read_to_string(deployed(MANIFEST))?;
    let limit = text.lines().find_map(|line| line.trim().strip_prefix("limits: {memory: ")?.strip_suffix("Mi}"));
    Ok(limit.context("the manifest has a limit in Mi")?.parse::<u64>()? << 20)
}

#[test]
fn without_bpf_or_perfmon_it_does_not_start_and_says_why() -> Result<()> {
    let image = Image::unpack()?;
    for capability in ["BPF", "PERFMON"] {
        let output = without(&image, capability)?.command().args(["--print", "none"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains(&format!("missing CAP_{capability}:")), "{last}");
    }
    Ok(())
}

/// Descriptors, environments and files in closed folders are for their owner's eyes only. Nothing of it is needed to follow
/// what a program says in the clear, once it is found by its name.
#[test]
fn without_dac_read_search_the_listeners_of_others_are_not_found_at_the_start() -> Result<()> {
    let (image, workshop) = (Image::unpack()?, Workshop::new()?);
    let mut watched = Watched::start(&workshop)?;
    let container = without(&image, "DAC_READ_SEARCH")?;
    let mut command = container.command();
    command.args(["--open-port", &watched.ports()]);
    let onlooker = Onlooker::start_as(command, &[], &[])?;
    assert_eq!(onlooker.metrics()?.total("onlooker_processes_watched_total"), 0);
    onlooker.stop()?;

    let mut command = container.command();
    command.args(["--exe", "*/sample-server,*/go"]);
    let mut onlooker = Onlooker::start_as(command, &[], &[])?;
    let (clear, _) = watched.work()?;
    onlooker.wait_spans(|spans| clear.is_subset(&paths(spans, "SERVER")), PATIENCE)?;
    let finished = onlooker.stop()?;
    assert_eq!(paths(&finished.spans, "SERVER"), clear, "the executable of Go lies in a closed folder");
    assert_eq!(named(&finished), BTreeSet::from(["sample-server"]));
    Ok(())
}

/// Executables and root folders of others cannot be opened: no TLS is found in them, and no selector on paths holds.
#[test]
fn without_sys_ptrace_the_executables_of_others_are_not_known() -> Result<()> {
    let (image, workshop) = (Image::unpack()?, Workshop::new()?);
    let mut watched = Watched::start(&workshop)?;
    let pids: Vec<String> = watched.pids().iter().map(u32::to_string).collect();
    let mut command = without(&image, "SYS_PTRACE")?.command();
    command.args(["--pid", &pids.join(",")]);
    let mut onlooker = Onlooker::start_as(command, &[], &[])?;
    let (clear, _) = watched.work()?;
    onlooker.wait_spans(|spans| clear.is_subset(&paths(spans, "SERVER")), PATIENCE)?;
    let finished = onlooker.stop()?;
    for span in &finished.spans {
        assert!(!span.resource.contains_key("process.executable.name"), "{span:#?}");
    }
    assert!(!paths(&finished.spans, "SERVER").iter().any(|path| path.starts_with("/go/")), "{:#?}", finished.spans);
    Ok(())
}

#[test]
fn doctor_tells_what_a_profile_lacks() -> Result<()> {
    let image = Image::unpack()?;
    let missing = |rights: Rights<'_>| -> Result<BTreeSet<String>> {
        let output = Container::new(&image, rights)?.command().args(["doctor", "--json"]).output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        ensure!(report["findings"].as_array().is_some_and(|findings| !findings.is_empty()), "{report}");
        let findings = report["findings"].as_array().into_iter().flatten();
        let lacking = findings.filter(|finding| finding["group"] == "privileges" && finding["works"] == false);
        Ok(lacking.filter_map(|finding| finding["name"].as_str()).map(|name| name.replace("CAP_", "")).collect())
    };
    assert_eq!(missing(Rights::Everything)?, BTreeSet::new());
    assert_eq!(missing(Rights::Only(&observe()?))?, BTreeSet::new(), "the profile is whole");
    for capability in observe()? {
        let mut others = observe()?;
        others.retain(|name| *name != capability);
        assert_eq!(missing(Rights::Only(&others))?, BTreeSet::from([capability]));
    }
    Ok(())
}
