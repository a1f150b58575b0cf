// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Images for the cluster's pods, made without a container engine or a registry: OCI layouts as one file each.
//!
//! Programs come from the machine, by their folder `/usr`, which pods of [`HOST`] get; those that are static are in an
//! image whole.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use ring::digest;
use serde_json::{Value, json};

/// What keeps a pod's namespaces.
pub const PAUSE: &str = "pods.test/pause:1";
/// An empty root, which runs what `/usr` holds.
pub const HOST: &str = "pods.test/host:1";
pub const COLLECTOR: &str = "pods.test/collector:1";
/// The server in Go.
pub const COUNTER: &str = "pods.test/counter:1";

/// All of them; gives the archives.
pub fn make(folder: &Path) -> Result<Vec<PathBuf>> {
    let program = |variable: &str| {
        env::var_os(variable).map(PathBuf::from).with_context(|| format!("{variable}: use `cargo xtask e2e cluster`"))
    };
    let onlooker = program("ONLOOKER_IMAGE")?;
    Ok(vec![
        Image::new(folder, "pause")?
            .with_program(Path::new("/bin/busybox"), "sleep")?
            .pack(PAUSE, &["/sleep", "inf"])?,
        Image::new(folder, "host")?.with_links()?.pack(HOST, &["/usr/bin/true"])?,
        Image::new(folder, "collector")?
            .with_program(&program("ONLOOKER_COLLECTOR")?, "collector")?
            .pack(COLLECTOR, &["/collector"])?,
        Image::new(folder, "counter")?
            .with_program(&program("ONLOOKER_COUNTER")?, "counter")?
            .pack(COUNTER, &["/counter"])?,
        onlooker,
    ])
}

/// One that is being made.
struct Image {
    folder: PathBuf,
}

impl Image {
    fn new(folder: &Path, name: &str) -> Result<Self> {
        let folder = folder.join(name);
        fs::create_dir_all(folder.join("layout/blobs/sha256"))?;
        for name in ["dev", "proc", "sys", "tmp", "etc", "usr"] {
            fs::create_dir_all(folder.join("root").join(name))?;
        }
        fs::set_permissions(folder.join("root/tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::write(folder.join("root/etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
        fs::write(folder.join("root/etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        Ok(Self { folder })
    }

    fn with_program(self, program: &Path, name: &str) -> Result<Self> {
        fs::copy(program, self.folder.join("root").join(name))
            .with_context(|| format!("cannot copy {}", program.display()))?;
        Ok(self)
    }

    /// As a merged `/usr` has them.
    fn with_links(self) -> Result<Self> {
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), self.folder.join("root").join(name))?;
        }
        Ok(self)
    }

    fn pack(self, name: &str, command: &[&str]) -> Result<PathBuf> {
        let layer = self.folder.join("layer");
        tar(&self.folder.join("root"), &["."], &layer)?;
        let layer = self.blob(&fs::read(layer)?, "application/vnd.oci.image.layer.v1.tar")?;
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Entrypoint": command, "Env": ["PATH=/usr/sbin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = self.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let text = json!({"schemaVersion": 2, "mediaType": manifest, "config": config, "layers": [layer]});
        let mut entry = self.blob(text.to_string().as_bytes(), manifest)?;
        entry["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        let layout = self.folder.join("layout");
        fs::write(layout.join("index.json"), index.to_string())?;
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)?;
        let archive = self.folder.join("image.tar");
        tar(&layout, &["oci-layout", "index.json", "blobs"], &archive)?;
        Ok(archive)
    }

    /// Keeps it under the name of its digest, and gives its descriptor.
    fn blob(&self, bytes: &[u8], media_type: &str) -> Result<Value> {
        let sum = digest::digest(&digest::SHA256, bytes);
        let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(self.folder.join("layout/blobs/sha256").join(&sum), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": format!("sha256:{sum}"), "size": bytes.len()}))
    }
}

fn tar(folder: &Path, names: &[&str], archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--owner=0", "--group=0", "--file"]).arg(archive).arg("--directory").arg(folder);
    let status = tar.args(names).status()?;
    ensure!(status.success(), "tar: {status}");
    Ok(())
}
