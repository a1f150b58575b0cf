// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The image that `cargo xtask image` makes, read back as a runtime reads it (image-spec 1.1).
//!
//! In: the archive that `ONLOOKER_IMAGE` names. Out: its root file system, unpacked. Every digest and size is checked.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use object::{Architecture, Object as _, ObjectSection as _};
use ring::digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    container::{Container, Rights},
    package::check_bill,
};

/// An unpacked image.
pub struct Image {
    folder: TempDir,
    pub config: Value,
    bill: Value,
    /// Those that the archive has images for.
    machines: Vec<String>,
}

/// As the specification names them, this one first, with what their programs are for.
const MACHINES: [(&str, Architecture); 2] = [("amd64", Architecture::X86_64), ("arm64", Architecture::Aarch64)];

/// What the bill of materials is called.
const BILL: &str = "application/vnd.cyclonedx+json";

impl Image {
    /// The one for this machine.
    pub fn unpack() -> Result<Self> {
        Self::unpack_for(MACHINES[0].0)
    }

    fn unpack_for(machine: &str) -> Result<Self> {
        let archive = env::var_os("ONLOOKER_IMAGE").context("ONLOOKER_IMAGE is not set: use `cargo xtask test`")?;
        let folder = tempfile::tempdir()?;
        let layout = folder.path().join("layout");
        unpack(Path::new(&archive), &layout)?;
        let version: Value = serde_json::from_slice(&fs::read(layout.join("oci-layout"))?)?;
        ensure!(version["imageLayoutVersion"] == "1.0.0", "{version}");
        let read = |file: PathBuf| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(file)?)?) };
        let entry = read(layout.join("index.json"))?["manifests"].as_array().cloned().unwrap_or_default();
        ensure!(entry.len() == 1, "who names none takes the only one: {entry:?}");
        let all = read(blob(&layout, &entry[0])?)?["manifests"].as_array().cloned().context("an index of manifests")?;
        let machine_of = |entry: &Value| entry["platform"]["architecture"].as_str().map(str::to_owned);
        let machines = all.iter().filter(|entry| entry["artifactType"].is_null()).filter_map(machine_of).collect();
        let image = all.iter().find(|entry| machine_of(entry).is_some_and(|name| name == machine));
        let image = image.with_context(|| format!("it is not for {machine}"))?;
        let manifest = read(blob(&layout, image)?)?;
        let config = read(blob(&layout, &manifest["config"])?)?;
        let mut bill = None;
        for entry in all.iter().filter(|entry| entry["artifactType"] == BILL) {
            let artifact = read(blob(&layout, entry)?)?;
            if artifact["subject"]["digest"] == image["digest"] {
                bill = Some(read(blob(&layout, &artifact["layers"][0])?)?);
            }
        }
        let layers = manifest["layers"].as_array().context("a manifest has layers")?;
        for (index, layer) in layers.iter().enumerate() {
            ensure!(layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar", "{layer}");
            // Of a layer that is not compressed.
            ensure!(config["rootfs"]["diff_ids"][index] == layer["digest"], "{config}");
            unpack(&blob(&layout, layer)?, &folder.path().join("root"))?;
        }
        Ok(Self { folder, config, machines, bill: bill.context("the image has a bill of materials")? })
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
}

fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut tar = Command::new("tar");
    let status = tar.arg("--extract").arg("--file").arg(archive).arg("--directory").arg(folder).status()?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}

/// The file that a descriptor names, which has its size and its digest.
fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let name = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let name = name.with_context(|| format!("no digest in {descriptor}"))?;
    let file = layout.join("blobs/sha256").join(name);
    let bytes = fs::read(&file).with_context(|| format!("{} is not in the image", file.display()))?;
    ensure!(descriptor["size"].as_u64() == Some(bytes.len() as u64), "{} bytes: {descriptor}", bytes.len());
    let sum = digest::digest(&digest::SHA256, &bytes);
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(sum == name, "{sum} instead of {name}");
    Ok(file)
}

#[test]
fn the_image_is_whole_and_holds_one_static_program() -> Result<()> {
    let image = Image::unpack()?;
    let config = &image.config;
    ensure!(config["os"] == "linux" && config["architecture"] == "amd64", "{config}");
    ensure!(config["config"]["Entrypoint"] == json!(["/usr/bin/onlooker"]), "{config}");
    let program = image.root().join("usr/bin/onlooker");
    let files = Command::new("find").arg(image.root()).args(["-not", "-type", "d"]).output()?;
    let files = String::from_utf8(files.stdout)?;
    ensure!(files.trim() == program.to_str().context("a plain path")?, "nothing else is in it: {files}");
    check_program(&program, Architecture::X86_64)?;
    // Where there is nothing else.
    let output = Container::new(&image, Rights::Everything)?.command().arg("--version").output()?;
    let version = config["config"]["Labels"]["org.opencontainers.image.version"].as_str().context("a version")?;
    ensure!(String::from_utf8(output.stdout)?.trim() == format!("onlooker {version}"), "{version}");
    check_bill(&image.bill, version)
}

/// It is for this machine, and asks for no loader.
fn check_program(program: &Path, architecture: Architecture) -> Result<()> {
    let bytes = fs::read(program)?;
    let file = object::File::parse(&*bytes)?;
    ensure!(file.architecture() == architecture, "{:?} instead of {architecture:?}", file.architecture());
    let has_loader = file.sections().any(|section| section.name() == Ok(".interp"));
    ensure!(!has_loader, "it asks for a dynamic loader");
    Ok(())
}

/// `cargo xtask ci` makes the image for both, and says so in `ONLOOKER_IMAGE_MACHINES`.
#[test]
fn each_machine_finds_its_own_program() -> Result<()> {
    let due = env::var("ONLOOKER_IMAGE_MACHINES").unwrap_or_else(|_| MACHINES[0].0.to_owned());
    for (machine, architecture) in MACHINES.iter().filter(|(machine, _)| due.split(',').any(|name| name == *machine)) {
        let image = Image::unpack_for(machine)?;
        ensure!(image.machines == due.split(',').collect::<Vec<_>>(), "{:?} instead of {due}", image.machines);
        ensure!(image.config["architecture"] == *machine, "{}", image.config);
        check_program(&image.root().join("usr/bin/onlooker"), *architecture)?;
        let version = &image.config["config"]["Labels"]["org.opencontainers.image.version"];
        check_bill(&image.bill, version.as_str().context("a version")?)?;
    }
    Ok(())
}
