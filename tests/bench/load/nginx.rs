// SPDX-License-Identifier: Apache-2.0 OR MIT
//! nginx with a configuration of its own: two workers, one small static file, connections that are never closed.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use onlooker_tests::{PATIENCE, free_address, poll_until};
use tempfile::TempDir;

/// A small page or an answer of an API: large enough to be one, small enough that the request is what costs.
const PAGE_BYTES: usize = 600;

pub struct Nginx {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    pub fn start() -> Result<Self> {
        let (folder, address) = (tempfile::tempdir()?, free_address());
        let path = folder.path().display();
        fs::write(folder.path().join("page.html"), vec![b'x'; PAGE_BYTES])?;
        fs::write(
            folder.path().join("nginx.conf"),
            format!(
                "user root;\nworker_processes 2;\ndaemon off;\npid {path}/nginx.pid;\nerror_log {path}/error.log;\n\
                 events {{ worker_connections 9000; }}\n\
                 http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 1h;\n\
                 server {{ listen {address} backlog=4096; root {path}; index page.html; }}\n}}\n"
            ),
        )?;
        let child = Command::new("nginx")
            .args(["-p", &path.to_string(), "-c", "nginx.conf"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("nginx does not start: is it installed?")?;
        let nginx = Self { address, child, folder };
        poll_until("nginx listens", PATIENCE, || TcpStream::connect(address).ok())
            .with_context(|| fs::read_to_string(nginx.folder.path().join("error.log")).unwrap_or_default())?;
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, unlike SIGKILL, is passed on to the workers.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: kill takes no pointers; the child was not waited for yet, so that its id is still its own.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let _ = self.child.wait();
    }
}
