// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Containers of one image: each has an overlay of its own over the same files, which the kernel probes once for all of them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, PATIENCE, skip};

use super::{
    build_go, path,
    program::{Program, Workshop},
};

/// A container's view of an image. Dropped, it is gone.
struct View(PathBuf);

impl View {
    /// Nothing where this machine has no overlays, or does not let us mount.
    fn of(image: &Path, folder: &Path) -> Result<Option<Self>> {
        let part = |name: &str| folder.join(name);
        for name in ["changes", "work", "view"] {
            fs::create_dir_all(part(name))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            image.display(),
            part("changes").display(),
            part("work").display()
        );
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(part("view"));
        Ok(mount.status()?.success().then(|| Self(part("view"))))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Go's plaintext is seen where a function is entered, so that a call that is seen twice is told twice.
#[test]
fn each_call_is_told_once_however_many_have_the_image() -> Result<()> {
    let workshop = Workshop::new()?;
    let Some(binary) = build_go(&workshop, "https", "local", &[])? else { return Ok(()) };
    let image = workshop.path().join("image");
    fs::create_dir(&image)?;
    fs::rename(binary, image.join("app"))?;
    let mut views = Vec::new();
    for name in ["one", "two", "owned"] {
        let Some(view) = View::of(&image, &workshop.path().join(name))? else {
            skip("overlays cannot be mounted here");
            return Ok(());
        };
        views.push(view);
    }
    // As containers do that begin with `chown -R`: a file of its own, under the same number.
    chown(views[2].0.join("app"), Some(1), Some(1))?;
    let start = |view: &View| {
        let mut command = Command::new(view.0.join("app"));
        command.args(["10", "3"]);
        Program::start(command, &workshop)
    };
    let mut programs = views.iter().map(start).collect::<Result<Vec<_>>>()?;
    let pids = programs.iter().map(|program| program.pid().to_string()).collect::<Vec<_>>();
    let mut onlooker = Onlooker::start(&["--pid", &pids.join(",")], &[])?;
    let mut asked = 0;
    for program in &mut programs {
        asked += program.go()?.len();
    }
    let _ = onlooker.wait_spans(|spans| spans.len() >= 2 * asked, PATIENCE);
    let finished = onlooker.stop()?;
    let mut told = BTreeMap::<_, usize>::new();
    for span in &finished.spans {
        let pid = span.resource.get("process.pid").and_then(|pid| pid.as_i64()).context("a process")?;
        *told.entry((pid, span.kind, path(span))).or_default() += 1;
    }
    ensure!(told.len() == 2 * asked, "{} of {asked} were told: {}", told.len(), finished.stderr);
    let twice: Vec<_> = told.iter().filter(|(_, times)| **times != 1).collect();
    ensure!(twice.is_empty(), "told more than once: {twice:#?}");
    finished.ledger.assert_conserved("stdout");
    Ok(())
}
