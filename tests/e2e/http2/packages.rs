// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What peers in other languages need, fetched from the registries of their languages and built, once per machine.
//!
//! In: a folder of sources, whose files pin what they need. Out: a folder with all of it, kept in the user's cache and
//! named by a hash of the sources; or the name of the program that this machine lacks.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The folder of these sources with what `install` adds to a copy of them.
pub fn installed(sources: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/http2").join(sources);
    let mut files: Vec<PathBuf> = fs::read_dir(&from)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in &files {
        (file.file_name(), fs::read(file)?).hash(&mut hasher);
    }
    let name = sources.replace('/', "-");
    let folder = cache()?.join(format!("{name}-{:016x}", hasher.finish()));
    if folder.exists() {
        return Ok(folder);
    }
    let fresh = folder.with_extension("new");
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(&fresh)?,
    }
    for file in files {
        fs::copy(&file, fresh.join(file.file_name().context("files have names")?))?;
    }
    install(&fresh).with_context(|| format!("what {sources} needs cannot be installed"))?;
    fs::rename(&fresh, &folder)?;
    Ok(folder)
}

/// Runs an installer in a folder, silently unless it fails.
pub fn run_in(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().context(program.to_owned())?;
    let said = || [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
    ensure!(output.status.success(), "{program} {arguments:?}: {}\n{}", output.status, said());
    Ok(())
}

/// A program that this machine lacks.
pub fn missing(programs: &[&'static str]) -> Option<&'static str> {
    let path = env::var_os("PATH").unwrap_or_default();
    programs.iter().copied().find(|program| !env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn cache() -> Result<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .map(|cache| cache.join("onlooker/peers"))
        .context("neither XDG_CACHE_HOME nor HOME says where packages are kept")
}
