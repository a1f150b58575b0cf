// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `cargo xtask image`: a container image of the static binary, made without a container engine.
//!
//! Out: an OCI layout (image-spec 1.1) in `target/image`, and the same as one file, `target/onlooker-image.tar`, for
//! `ctr images import`, `podman load` and `skopeo copy oci-archive:`. The same binary gives the same bytes. In it is this
//! machine's binary, with `--arm64` that for the other machine too, and the bill of materials of each, which refers to its
//! image.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bill, build,
    steps::{output_of, run as run_step, say},
    vm::Machine,
    workspace::{TARGET, target},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A binary, the machine that it is for as the specification names it, and as the compiler does.
struct Built {
    binary: PathBuf,
    machine: &'static str,
    target: &'static str,
}

/// For this machine. Gives the path of the file.
pub fn run() -> Result<PathBuf> {
    make(&[Built { binary: build::run()?, machine: "amd64", target: TARGET }])
}

/// For both machines.
pub fn run_for_both() -> Result<PathBuf> {
    let amd64 = Built { binary: build::run()?, machine: "amd64", target: TARGET };
    run_step(&mut Machine::Arm64.cargo(["build", "--release", "--package", "onlooker", "--bin", "onlooker"])?)?;
    let binary = target().join(Machine::Arm64.target()).join("release/onlooker");
    make(&[amd64, Built { binary, machine: "arm64", target: Machine::Arm64.target() }])
}

fn make(built: &[Built]) -> Result<PathBuf> {
    let version = version(&built[0].binary)?;
    let layout = target().join("image");
    let archive = target().join("onlooker-image.tar");
    write_layout(&layout, built, &version)?;
    pack(&layout, &["blobs", "index.json", "oci-layout"], &archive)?;
    let machines: Vec<_> = built.iter().map(|built| built.machine).collect();
    let machines = machines.join(", ");
    say(format!("image: {} and {} (onlooker:{version}, {machines})", layout.display(), archive.display()));
    Ok(archive)
}

/// As the binary itself says it.
pub fn version(binary: &Path) -> Result<String> {
    let said = output_of(Command::new(binary).arg("--version"))?;
    Ok(said.split_whitespace().last().context("the binary names no version")?.to_owned())
}

fn write_layout(layout: &Path, built: &[Built], version: &str) -> Result<()> {
    if layout.exists() {
        fs::remove_dir_all(layout)?;
    }
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let (mut images, mut bills) = (Vec::new(), Vec::new());
    for Built { binary, machine, target } in built {
        let image = write_image(layout, binary, machine, version)?;
        images.push(image.descriptor(&format!(r#", "platform": {{"architecture": "{machine}", "os": "linux"}}"#)));
        bills.push(write_bill(layout, &image, &bill::text(version, target)?)?);
    }
    let names = format!(
        r#", "annotations": {{"org.opencontainers.image.ref.name": "{version}", "io.containerd.image.name": "docker.io/library/onlooker:{version}"}}"#
    );
    let index =
        |manifests: &str| format!(r#"{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": [{manifests}]}}"#);
    // One entry: programs that are told no name take the only one.
    let all = Blob::write(layout, &index(&[images, bills].concat().join(", ")), INDEX)?;
    fs::write(layout.join("index.json"), index(&all.descriptor(&names)))?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
    Ok(())
}

/// The image for one machine; gives its manifest.
fn write_image(layout: &Path, binary: &Path, machine: &str, version: &str) -> Result<Blob> {
    let root = layout.join("root");
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::copy(binary, root.join("usr/bin/onlooker"))?;
    pack(&root, &["usr"], &layout.join("layer"))?;
    fs::remove_dir_all(&root)?;
    let layer = Blob::take(layout, "layer", "application/vnd.oci.image.layer.v1.tar")?;
    let labels = format!(
        r#""org.opencontainers.image.title": "onlooker", "org.opencontainers.image.version": "{version}", "org.opencontainers.image.licenses": "Apache-2.0 OR MIT""#
    );
    // An uncompressed layer is its own diff.
    let config = format!(
        r#"{{"architecture": "{machine}", "os": "linux", "config": {{"Entrypoint": ["/usr/bin/onlooker"], "Labels": {{{labels}}}}}, "rootfs": {{"type": "layers", "diff_ids": ["{}"]}}, "history": [{{"created_by": "cargo xtask image"}}]}}"#,
        layer.digest
    );
    let config = Blob::write(layout, &config, "application/vnd.oci.image.config.v1+json")?;
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{MANIFEST}", "config": {}, "layers": [{}], "annotations": {{{labels}}}}}"#,
        config.descriptor(""),
        layer.descriptor("")
    );
    Blob::write(layout, &manifest, MANIFEST)
}

/// As an artifact that refers to the image (image-spec 1.1, "Guidelines for Artifact Usage"); gives its descriptor.
fn write_bill(layout: &Path, image: &Blob, text: &str) -> Result<String> {
    let bill = Blob::write(layout, text, bill::MEDIA_TYPE)?;
    let empty = Blob::write(layout, "{}", "application/vnd.oci.empty.v1+json")?;
    let manifest = format!(
        r#"{{"schemaVersion": 2, "mediaType": "{MANIFEST}", "artifactType": "{}", "config": {}, "layers": [{}], "subject": {}}}"#,
        bill::MEDIA_TYPE,
        empty.descriptor(""),
        bill.descriptor(""),
        image.descriptor("")
    );
    // For no machine: who looks for an image to run passes it by.
    let artifact = format!(
        r#", "artifactType": "{}", "platform": {{"architecture": "unknown", "os": "unknown"}}"#,
        bill::MEDIA_TYPE
    );
    Ok(Blob::write(layout, &manifest, MANIFEST)?.descriptor(&artifact))
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
pub fn pack(folder: &Path, names: &[&str], file: &Path) -> Result<()> {
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
