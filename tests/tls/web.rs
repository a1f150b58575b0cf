// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Servers and clients as they are met: nginx and curl, uvicorn with requests and httpx, puma.

use std::{collections::BTreeSet, env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, Span, skip};

use super::{
    Told, finish,
    program::{LARGE_BYTES, Nginx, Program, Workshop},
    program_of, source, watch,
};

/// Requests of one curl, and how many it makes at once.
const REQUESTS: usize = 250;
const AT_ONCE: &str = "50";

/// Asks an nginx for paths of this name, all by one curl.
fn curl(name: &str, options: &[&str]) -> Result<Option<Told>> {
    let workshop = Workshop::new()?;
    let Some(nginx) = Nginx::start(&workshop)? else { return Ok(None) };
    let mut onlooker = Onlooker::start(&["--exe", "*/{nginx,curl}"], &[])?;
    let paths: BTreeSet<String> = (0..REQUESTS).map(|number| format!("/{name}/{number}")).collect();
    let urls = paths.iter().map(|path| format!("https://127.0.0.1:{}{path}", nginx.port));
    let mut curl = Command::new("curl");
    curl.args(["-sSk", "-Z", "--parallel-max"]).args(options).args(urls);
    let got = curl.output().context("curl is there")?;
    ensure!(got.status.success(), "{got:?}");
    let of_path = |path: &String| if name == "large" { LARGE_BYTES } else { path.len() };
    ensure!(got.stdout.len() == paths.iter().map(of_path).sum::<usize>(), "curl was given something else");
    finish(&mut onlooker, &paths, 2)?;
    Ok(Some(Told { finished: onlooker.stop()?, paths }))
}

#[test]
fn nginx_and_curl() -> Result<()> {
    for (name, options) in [
        ("kept", &[AT_ONCE, "--http1.1"][..]),
        ("closed", &[AT_ONCE, "--http1.1", "-H", "Connection: close"]),
        ("older", &[AT_ONCE, "--http1.1", "--tls-max", "1.2"]),
    ] {
        let Some(told) = curl(name, options)? else { return Ok(()) };
        told.assert_exact(&["SERVER", "CLIENT"]);
        told.assert_bound();
    }
    Ok(())
}

/// All streams on one connection, a hundred at a time.
#[test]
fn nginx_and_curl_over_http2() -> Result<()> {
    let Some(told) = curl("streams", &["100", "--http2"])? else { return Ok(()) };
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}

/// Bodies of a hundred streams at once are far more than is copied: frames are followed, and data is counted.
#[test]
fn large_bodies_over_http2() -> Result<()> {
    let Some(told) = curl("large", &["100", "--http2"])? else { return Ok(()) };
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    let size = |span: &Span| span.integer("http.response.body.size");
    ensure!(told.finished.spans.iter().all(|span| size(span) == Some(LARGE_BYTES as i64)), "a size is another one");
    Ok(())
}

/// Python with what a file of requirements names, installed once per machine.
pub fn python_with_packages(requirements: &str) -> Result<Option<PathBuf>> {
    let requirements = source(requirements);
    let name = fs::read_to_string(&requirements)?.lines().skip(1).collect::<Vec<_>>().join("-").replace("==", "");
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let folder = cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("onlooker/peers").join(name);
    let python = folder.join("bin/python");
    if python.exists() {
        return Ok(Some(python));
    }
    let fresh = folder.with_extension("new");
    let ran = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let installed = ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&fresh))
        && ran(Command::new(fresh.join("bin/python"))
            .args(["-m", "pip", "install", "-q", "--only-binary", ":all:", "-r"])
            .arg(&requirements));
    if !installed {
        skip("Python, or what it needs, cannot be installed here");
        return Ok(None);
    }
    fs::rename(&fresh, &folder)?;
    Ok(Some(python))
}

#[test]
fn uvicorn_requests_and_httpx() -> Result<()> {
    let Some(python) = python_with_packages("requirements.txt")? else { return Ok(()) };
    let workshop = Workshop::new()?;
    let mut command = Command::new(python);
    command.arg(source("web.py"));
    let told = watch(&mut Program::start(command, &workshop)?)?;
    told.assert_whole();
    Ok(())
}

/// puma carries its records itself; Ruby's own client leaves its socket to the library.
#[test]
fn puma_and_the_client_of_ruby() -> Result<()> {
    if !Command::new("ruby").args(["-e", "require 'puma'"]).output().is_ok_and(|output| output.status.success()) {
        skip("there is no Ruby with puma here");
        return Ok(());
    }
    let workshop = Workshop::new()?;
    let Some(mut program) = program_of("ruby", &workshop, "web.rb", &["50", "6"])? else { return Ok(()) };
    let told = watch(&mut program)?;
    told.assert_exact(&["SERVER", "CLIENT"]);
    told.assert_bound();
    Ok(())
}
