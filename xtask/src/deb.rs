// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask deb`: a Debian package of the static binary, with its systemd unit and its bill of materials.
//!
//! In: the binary, `deploy/debian/` (control, conffile and maintainer scripts) and `deploy/systemd/`. Out:
//! `target/onlooker_VERSION_amd64.deb`, by dpkg-deb. The same binary gives the same bytes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bill, build,
    image::version,
    setup::install_package,
    steps::{run as run_step, say},
    workspace::{TARGET, find_program, root, target},
};

const ARCHITECTURE: &str = "amd64";

/// What the package's own database asks about before it replaces them.
const CONFFILES: &str = "/etc/onlooker/onlooker.env\n";

/// Seconds since 1970 that all files bear: the first moment of 2000, for there are tools that take zero for none.
const MOMENT: &str = "946684800";

/// Gives the path of the package.
pub fn run() -> Result<PathBuf> {
    if find_program("dpkg-deb").is_none() {
        install_package("dpkg", "to make a Debian package")?;
    }
    let binary = build::run()?;
    let version = version(&binary)?;
    let tree = target().join("debian");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let deploy = root().join("deploy");
    put(&tree, "usr/bin/onlooker", &fs::read(&binary)?, 0o755)?;
    put(&tree, "usr/lib/systemd/system/onlooker.service", &fs::read(deploy.join("systemd/onlooker.service"))?, 0o644)?;
    // It may hold a collector's credentials.
    put(&tree, "etc/onlooker/onlooker.env", &fs::read(deploy.join("debian/onlooker.env"))?, 0o640)?;
    put(&tree, "usr/share/doc/onlooker/copyright", &fs::read(deploy.join("debian/copyright"))?, 0o644)?;
    let bill = bill::text(&version, TARGET)?;
    put(&tree, "usr/share/doc/onlooker/onlooker.cdx.json", bill.as_bytes(), 0o644)?;

    let kilobytes = fs::metadata(&binary)?.len().div_ceil(1024) + bill.len().div_ceil(1024) as u64;
    let control = fs::read_to_string(deploy.join("debian/control"))?
        .replace("@VERSION@", &version)
        .replace("@ARCHITECTURE@", ARCHITECTURE)
        .replace("@KILOBYTES@", &kilobytes.to_string());
    put(&tree, "DEBIAN/control", control.as_bytes(), 0o644)?;
    put(&tree, "DEBIAN/conffiles", CONFFILES.as_bytes(), 0o644)?;
    for script in ["postinst", "prerm", "postrm"] {
        put(&tree, &format!("DEBIAN/{script}"), &fs::read(deploy.join("debian").join(script))?, 0o755)?;
    }
    let package = target().join(format!("onlooker_{version}_{ARCHITECTURE}.deb"));
    run_step(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&tree, &package])
            .env("SOURCE_DATE_EPOCH", MOMENT),
    )?;
    say(format!("deb: {}", package.display()));
    Ok(package)
}

/// A file of the package, in folders that anyone may enter.
fn put(tree: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let file = tree.join(name);
    let folder = file.parent().context("it is in a folder")?;
    fs::create_dir_all(folder)?;
    for folder in folder.ancestors().take_while(|folder| folder.starts_with(tree)) {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(&file, bytes)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    Ok(())
}
