// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Debian package that `cargo xtask deb` makes: installed, removed and purged, in a root of its own.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::skip;
use serde_json::Value;
use tempfile::TempDir;

use super::deployed;

const CONFFILE: &str = "etc/onlooker/onlooker.env";
const PROGRAM: &str = "usr/bin/onlooker";

/// A root in which dpkg knows of no package.
struct Root {
    folder: TempDir,
}

impl Root {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(folder.path().join(name))?;
        }
        fs::write(folder.path().join("var/lib/dpkg/status"), "")?;
        Ok(Self { folder })
    }

    /// Maintainer scripts run outside of it, and are told where it is.
    fn dpkg(&self, arguments: &[&str]) -> Result<()> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.folder.path().display())).arg("--force-script-chrootless");
        let output = dpkg.arg("--log=/dev/null").args(arguments).output()?;
        ensure!(output.status.success(), "dpkg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    fn mode(&self, name: &str) -> Result<u32> {
        Ok(fs::metadata(self.folder.path().join(name))?.permissions().mode() & 0o7777)
    }
}

#[test]
fn the_package_is_installed_removed_and_purged() -> Result<()> {
    let Some(package) = env::var_os("ONLOOKER_DEB") else {
        skip("there is no Debian package: `cargo xtask deb` makes it, with dpkg");
        return Ok(());
    };
    let package = Path::new(&package).to_str().context("a plain path")?;
    let root = Root::new()?;
    root.dpkg(&["--install", package])?;
    ensure!(root.mode(PROGRAM)? == 0o755 && root.mode(CONFFILE)? == 0o640);
    let unit = fs::read_to_string(root.folder.path().join("usr/lib/systemd/system/onlooker.service"))?;
    ensure!(unit == fs::read_to_string(deployed("systemd/onlooker.service"))?);
    let named = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
    ensure!(named("ExecStart=").starts_with(&format!("/{PROGRAM} ")), "the unit starts what is installed");
    ensure!(named("EnvironmentFile=-") == format!("/{CONFFILE}"), "the unit reads what is installed");
    let output = Command::new(root.folder.path().join(PROGRAM)).arg("--version").output()?;
    ensure!(output.status.success());
    let version = String::from_utf8(output.stdout)?.trim().replace("onlooker ", "");
    let bill = fs::read(root.folder.path().join("usr/share/doc/onlooker/onlooker.cdx.json"))?;
    check_bill(&serde_json::from_slice(&bill)?, &version)?;

    // What an administrator has written survives the same package again, and its removal.
    let own = "OTEL_EXPORTER_OTLP_ENDPOINT=http://elsewhere:4317\n";
    fs::write(root.folder.path().join(CONFFILE), own)?;
    root.dpkg(&["--install", package])?;
    root.dpkg(&["--remove", "onlooker"])?;
    ensure!(!root.has(PROGRAM) && fs::read_to_string(root.folder.path().join(CONFFILE))? == own);
    root.dpkg(&["--purge", "onlooker"])?;
    ensure!(!root.has("etc/onlooker"), "nothing is left");
    Ok(())
}

/// It must name the binary's version and the crates that one would look for, each with what it was built from.
pub fn check_bill(bill: &Value, version: &str) -> Result<()> {
    ensure!(bill["bomFormat"] == "CycloneDX" && bill["metadata"]["component"]["version"] == version, "{bill}");
    let components = bill["components"].as_array().context("components")?;
    for name in ["aya", "aya-ebpf", "rustls", "tokio"] {
        let found = components.iter().find(|component| component["name"] == name);
        let found = found.with_context(|| format!("{name} is not on the bill"))?;
        let sum = found["hashes"][0]["content"].as_str().unwrap_or_default();
        ensure!(sum.len() == 64 && found["licenses"][0]["expression"].is_string(), "{found}");
    }
    // Of tests and of the build only.
    for name in ["proptest", "rcgen", "syn", "agent-protocols-fuzz"] {
        ensure!(!components.iter().any(|component| component["name"] == name), "{name} is not linked in");
    }
    Ok(())
}
