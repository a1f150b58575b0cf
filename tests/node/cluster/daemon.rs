// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One of the cluster's programs: started in its namespaces, with a log in its folder, killed with whoever started it.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use onlooker_tests::poll_until;

use super::site::Site;

pub struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Its options are `--key=value`, or `--key` where there is none.
    pub fn start(site: &Site, program: impl AsRef<Path>, name: &'static str, options: &[(&str, &str)]) -> Result<Self> {
        let log = site.path(&format!("{name}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = site.namespaces.command(program);
        command.args(options.iter().map(|(key, value)| match *value {
            "" => format!("--{key}"),
            value => format!("--{key}={value}"),
        }));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // SAFETY: one system call without pointers between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            })
        };
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { name, child, log })
    }

    /// Looks until it is as it should be; fails with the end of its log, and at once where it has ended.
    pub fn wait_until<T>(&mut self, what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let seen = poll_until(what, limit, || match self.child.try_wait() {
            Ok(None) => look().map(Some),
            _ => Some(None),
        });
        match seen {
            Ok(Some(seen)) => Ok(seen),
            Ok(None) => bail!("{} has ended:\n{}", self.name, self.last_words()),
            Err(error) => Err(error.context(format!("{}:\n{}", self.name, self.last_words()))),
        }
    }

    fn last_words(&self) -> String {
        const LINES: usize = 20;
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Ends it without a word, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
