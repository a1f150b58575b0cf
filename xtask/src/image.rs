// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask image`: a container image of the static binary, made without a container engine.
//!
//! Out: an OCI layout (image-spec 1.1) in `target/image`, and the same as one file, `target/onlooker-image.tar`, for
//! `ctr images import`, `podman load` and `skopeo copy oci-archive:`. The same binary gives the same bytes. One platform:
//! that of the static binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build,
    steps::{output_of, run as run_step, say},
    workspace::target,
};

const PLATFORM: &str = r#""architecture": "amd64", "os": "linux""#;

/// Gives the path of the file.
pub fn run() -> Result<PathBuf> {
    let binary = build::run()?;
    let version = output_of(Command::new(&binary).arg("--version"))?;
    let version = version.split_whitespace().last().context("the binary names no version")?;
    let layout = target().join("image");
    let archive = target().join("onlooker-image.tar");
    write_layout(&layout, &binary, version)?;
    pack(&layout, &["blobs", "index.json", "oci-layout"], &archive)?;
    say(format!("image: {} and {} (onlooker:{version})", layout.display(), archive.display()));
    Ok(archive)
}

fn write_layout(layout: &Path, binary: &Path, version: &str) -> Result<()> {
    if layout.exists() {
        fs::remove_dir_all(layout)?;
    }
    let root = layout.join("root");
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::copy(binary, root.join("usr/bin/onlooker"))?;
    pack(&root, &["usr"], &layout.join("layer"))?;
    fs::remove_dir_all(&root)?;
    let layer = Blob::take(layout, "layer", "application/vnd.oci.image.layer.v1.tar")?;
    let labels = format!(
        r#""org.opencontainers.image.title": "onlooker", "org.opencontainers.image.version": "{version}", "org.opencontainers.image.licenses": "Apache-2.0 OR MIT""#
    );
    // An uncompressed layer is its own diff.
    let config = format!(
        r#"{{{PLATFORM}, "config": {{"Entrypoint": ["/usr/bin/onlooker"], "Labels": {{{labels}}}}}, "rootfs": {{"type": "layers", "diff_ids": ["{}"]}}, "history": [{{"created_by": "cargo xtask image"}}]}}"#,
        layer.digest
    );
    let config = Blob::write(layout, &config, "application/vnd.oci.image.config.v1+json")?;
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{MANIFEST}", "config": {}, "layers": [{}], "annotations": {{{labels}}}}}"#,
        config.descriptor(""),
        layer.descriptor("")
    );
    let manifest = Blob::write(layout, &manifest, MANIFEST)?;
    let names = format!(
        r#", "platform": {{{PLATFORM}}}, "annotations": {{"org.opencontainers.image.ref.name": "{version}", "io.containerd.image.name": "docker.io/library/onlooker:{version}"}}"#
    );
    let index = format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{}]}}"#,
        manifest.descriptor(&names)
    );
    fs::write(layout.join("index.json"), index)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
    Ok(())
}

/// A file of the layout, under the name of its digest.
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: u64,
}

impl Blob {
    fn write(layout: &Path, text: &str, media_type: &'static str) -> Result<Self> {
        fs::write(layout.join("blob"), text)?;
        Self::take(layout, "blob", media_type)
    }

    fn take(layout: &Path, name: &str, media_type: &'static str) -> Result<Self> {
        let file = layout.join(name);
        let bytes = fs::metadata(&file)?.len();
        let sum = output_of(Command::new("sha256sum").arg(&file))?;
        let digest = sum.split_whitespace().next().context("sha256sum says nothing")?.trim_start_matches('\\');
        fs::rename(&file, layout.join("blobs/sha256").join(digest))?;
        Ok(Self { media_type, digest: format!("sha256:{digest}"), bytes })
    }

    fn descriptor(&self, more: &str) -> String {
        let Self { media_type, digest, bytes } = self;
        format!(r#"{{"mediaType": "{media_type}", "digest": "{digest}", "size": {bytes}{more}}}"#)
    }
}

/// An archive that knows neither who made it nor when.
fn pack(folder: &Path, names: &[&str], file: &Path) -> Result<()> {
    run_step(
        Command::new("tar")
            .args(["--create", "--format=ustar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0"])
            .args(["--numeric-owner", "--mode=u=rwX,go=rX", "--file"])
            .arg(file)
            .arg("--directory")
            .arg(folder)
            .args(names),
    )
}
