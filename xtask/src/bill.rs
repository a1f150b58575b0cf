// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The bill of materials: what the binary consists of, as CycloneDX 1.5 in JSON (ECMA-424).
//!
//! In: what cargo links into the daemon and into the kernel programs inside it, and Cargo.lock, which has the sum of each
//! crate's archive. Out: a text that is the same for the same binary. Macros and build scripts are not in it: what they
//! leave is the crates' own code.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};

use crate::{
    steps::output_of,
    workspace::{cargo, pinned_toolchain, root},
};

pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// For a binary of this version and target.
pub fn text(version: &str, target: &str) -> Result<String> {
    let mut tree = String::new();
    for (package, target) in [("onlooker", Some(target)), ("agent-ebpf", None)] {
        let mut command = cargo(["tree", "--locked", "--package", package, "--edges", "normal,no-proc-macro"]);
        command.args(["--prefix", "none", "--format", "{p}\t{l}"]);
        tree += &output_of(command.args(target.map(|target| ["--target", target]).into_iter().flatten()))?;
    }
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    render(version, &pinned_toolchain()?, &tree, &lock)
}

fn render(version: &str, toolchain: &str, tree: &str, lock: &str) -> Result<String> {
    let sums = sums(lock);
    // One that is there twice says `(*)` behind its licence the second time.
    let crates: BTreeMap<(&str, &str), &str> = tree
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.split_once('\t')?;
            let (name, rest) = package.split_once(" v")?;
            Some(((name, rest.split(' ').next()?), licence.trim_end_matches(" (*)")))
        })
        .filter(|((name, _), _)| *name != "onlooker")
        .collect();
    ensure!(!crates.is_empty(), "cargo names no crate");
    // The libraries of the compiler, and musl within them.
    let library = component("rust-std", toolchain, "MIT OR Apache-2.0", None)?;
    let components: Vec<String> = crates
        .into_iter()
        .map(|((name, version), licence)| component(name, version, licence, sums.get(&(name, version)).copied()))
        .chain([Ok(library)])
        .collect::<Result<_>>()?;
    Ok(format!(
        r#"{{"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
"metadata": {{"component": {{"type": "application", "bom-ref": "onlooker", "name": "onlooker", "version": "{version}", "licenses": [{{"expression": "Apache-2.0 OR MIT"}}]}}}},
"components": [
{}
]}}
"#,
        components.join(",\n")
    ))
}

fn component(name: &str, version: &str, licence: &str, sum: Option<&str>) -> Result<String> {
    let licence = licence.replace('/', " OR ");
    let is_plain =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && !text.contains(['"', '\\']);
    ensure!(
        [name, version, &licence].into_iter().all(is_plain),
        "{name} {version} ({licence}) cannot be written as it is"
    );
    // What has no sum is not from the registry: this checkout's own, and the compiler's.
    let origin = sum.map(|sum| {
        format!(r#", "purl": "pkg:cargo/{name}@{version}", "hashes": [{{"alg": "SHA-256", "content": "{sum}"}}]"#)
    });
    let origin = origin.unwrap_or_default();
    Ok(format!(
        r#"{{"type": "library", "bom-ref": "{name}@{version}", "name": "{name}", "version": "{version}", "licenses": [{{"expression": "{licence}"}}]{origin}}}"#
    ))
}

/// Of the crates' archives, by name and version.
fn sums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    let field = |package: &'_ str, key: &str| -> Option<(usize, usize)> {
        let start = package.find(&format!("\n{key} = \""))? + key.len() + 5;
        Some((start, start + package[start..].find('"')?))
    };
    let packages = lock.split("[[package]]").filter_map(|package| {
        let text = |key: &str| field(package, key).map(|(start, end)| &package[start..end]);
        Some(((text("name")?, text("version")?), text("checksum")?))
    });
    packages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1.0.1\"\nsource = \"registry\"\n\
        checksum = \"0a1b\"\n\n[[package]]\nname = \"agent-common\"\nversion = \"0.1.0\"\n";

    #[test]
    fn what_is_linked_is_listed_once_with_its_sum() {
        let tree = "onlooker v0.1.0 (/x/agent)\tApache-2.0 OR MIT\nanyhow v1.0.1\tMIT/Apache-2.0\n\
            agent-common v0.1.0 (/x/agent-common)\tApache-2.0 OR MIT\n\nanyhow v1.0.1\tMIT/Apache-2.0 (*)\n";
        let bill = render("0.1.0", "1.99.1", tree, LOCK).unwrap();
        assert_eq!(bill.matches(r#""name": "anyhow""#).count(), 1);
        assert_eq!(bill.matches(r#""type": "library""#).count(), 3, "two crates and the compiler's: {bill}");
        assert!(
            bill.contains(r#""purl": "pkg:cargo/anyhow@1.0.1", "hashes": [{"alg": "SHA-256", "content": "0a1b"}]"#)
        );
        assert!(bill.contains(r#""expression": "MIT OR Apache-2.0""#));
        assert!(bill.contains(r#""name": "rust-std", "version": "1.99.1""#));
        assert!(!bill.contains("/x/"), "no path of a machine: {bill}");
    }

    #[test]
    fn what_json_would_need_to_escape_is_refused() {
        assert!(render("0.1.0", "1.99.1", "a v1\tMIT \"or\" so\n", LOCK).is_err());
        assert!(render("0.1.0", "1.99.1", "", LOCK).is_err());
    }
}
