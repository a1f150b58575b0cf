// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs that speak TLS, for the guests: `tests/tls/kernels.rs` watches them. In: their sources. Out: static programs, and one
//! that loads libraries, with this machine's.
//!
//! What this machine cannot build is left out, with a line; the tests then skip what is about it, with their reason.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{initramfs::GuestFile, machine::Machine};
use crate::{
    steps::{output_of, say},
    workspace::{root, target},
};

/// Where they lie in a guest.
pub const FOLDER: &str = "/programs";

pub fn files(machine: Machine) -> Result<Vec<GuestFile>> {
    let out = target().join(machine.target()).join("tls-programs");
    std::fs::create_dir_all(&out)?;
    let mut built = Vec::new();
    for name in ["https", "grpc"] {
        built.extend(go(machine, name, &out));
    }
    if machine == Machine::X86_64 {
        for name in ["linked", "fibers"] {
            let options = ["-static", "-l:libssl.a", "-l:libcrypto.a", "-pthread", "-ldl"];
            built.extend(c(&format!("{name}.c"), name, &out, &options));
        }
        built.extend(c("loaded.c", "loaded", &out, &["-ldl"]));
        let options = ["-shared", "-fPIC", "-DLOADED", "-lssl", "-lcrypto", "-pthread"];
        built.extend(c("linked.c", "linked.so", &out, &options));
    }
    let mut files: Vec<GuestFile> =
        built.iter().map(|program| GuestFile::program(format!("{FOLDER}/{}", name(program)), program)).collect();
    if let Some(library) = built.iter().find(|program| name(program) == "linked.so") {
        files.extend(libraries_of(library)?);
    }
    Ok(files)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn source(name: &str) -> PathBuf {
    root().join("tests/tls/programs").join(name)
}

/// Go calls architectures as Debian does.
fn go(machine: Machine, name: &str, out: &Path) -> Option<PathBuf> {
    let program = out.join(name);
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&program).current_dir(source(name));
    build.env("CGO_ENABLED", "0").env("GOARCH", machine.debian());
    built("go", &mut build, program)
}

fn c(file: &str, name: &str, out: &Path, options: &[&str]) -> Option<PathBuf> {
    let program = out.join(name);
    built("cc", Command::new("cc").arg(source(file)).args(["-O2", "-o"]).arg(&program).args(options), program)
}

fn built(builder: &str, build: &mut Command, program: PathBuf) -> Option<PathBuf> {
    // What is warned of is left unsaid: static programs of glibc cannot do everything, and this one does not.
    let why = match build.output() {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("cannot start {builder}: {error}"),
    };
    say(format!("vm: {} is left out: {why}", name(&program)));
    None
}

/// The libraries that it loads, beside the program; the loader itself where programs ask for it.
fn libraries_of(library: &Path) -> Result<Vec<GuestFile>> {
    let listed = output_of(Command::new("ldd").arg(library))?;
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let place =
        |path: &str| if path.contains("/ld-") { path.to_owned() } else { format!("{FOLDER}/{}", name(path.as_ref())) };
    Ok(paths.map(|path| GuestFile::program(place(path), path)).collect())
}
