// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sample services as processes: each in its own language where that is installed, in Rust where it is not.
//!
//! Each ends when its standard input does. The write ends of those pipes are held here and nowhere else, so that the
//! services end with this process: after the demo, with ctrl-c, and when it is killed. Dropping them kills too.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    steps::{output_of, say},
    workspace::{find_program, root, target},
};

/// Longer: a language that is broken here holds the demo. Shorter: a Java on a busy machine is given up.
const READY: Duration = Duration::from_secs(20);
/// Between two attempts to connect to a service that starts.
const ATTEMPT: Duration = Duration::from_millis(25);

/// Callers after those they call, the gateway last.
const ROLES: [(&str, Language); 5] = [
    ("payments", Language::Java),
    ("inventory", Language::Python),
    ("auth", Language::Node),
    ("orders", Language::Go),
    ("gateway", Language::Rust),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
    Node,
    Go,
    Java,
}

impl Language {
    const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::Node => "Node",
            Self::Go => "Go",
            Self::Java => "Java",
        }
    }
}

pub struct Shop {
    pub services: Vec<Service>,
    /// A sentence for each language that is not there.
    pub left_out: Vec<String>,
}

pub struct Service {
    role: &'static str,
    language: Language,
    port: u16,
    child: Child,
}

impl Shop {
    /// Starts all of them and waits until each can be connected to. `stand_in` is the program of `demo/src`.
    pub fn start(stand_in: &Path) -> Result<Self> {
        let ports = free_ports()?;
        let mut shop = Self { services: Vec::new(), left_out: Vec::new() };
        for ((role, language), port) in ROLES.into_iter().zip(ports) {
            let own =
                if language == Language::Rust { Ok(rust(stand_in, role)) } else { in_own_language(role, language) };
            let (language, command) = match own {
                Ok(command) => (language, command),
                Err(reason) => {
                    shop.left_out.push(format!("{}: {reason:#}", language.name()));
                    (Language::Rust, rust(stand_in, role))
                }
            };
            shop.services.push(Service::start(role, language, port, command, &ports)?);
        }
        for service in &mut shop.services {
            if let Err(reason) = service.wait_until_ready() {
                if service.language == Language::Rust {
                    return Err(reason);
                }
                shop.left_out.push(format!("{}: {reason:#}", service.language.name()));
                let (role, port) = (service.role, service.port);
                *service = Service::start(role, Language::Rust, port, rust(stand_in, role), &ports)?;
                service.wait_until_ready()?;
            }
        }
        Ok(shop)
    }

    pub fn summary(&self) -> String {
        let service = |service: &Service| format!("{} ({})", service.role, service.language.name());
        self.services.iter().rev().map(service).collect::<Vec<_>>().join(", ")
    }

    pub fn ports(&self) -> Vec<u16> {
        self.services.iter().map(|service| service.port).collect()
    }

    pub fn gateway(&self) -> u16 {
        self.services.last().expect("the gateway is the last role").port
    }
}

impl Service {
    fn start(
        role: &'static str,
        language: Language,
        port: u16,
        mut command: Command,
        ports: &[u16; 5],
    ) -> Result<Self> {
        for ((role, _), port) in ROLES.iter().zip(ports) {
            command.env(role.to_uppercase(), format!("127.0.0.1:{port}"));
        }
        let child = command
            .env("PORT", port.to_string())
            .env("OTEL_SERVICE_NAME", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {role} in {}", language.name()))?;
        Ok(Self { role, language, port, child })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::ConnectionRefused => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status})", self.role);
            }
            if Instant::now() > deadline {
                bail!("{} did not listen within {} s", self.role, READY.as_secs());
            }
            thread::sleep(ATTEMPT);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rust(stand_in: &Path, role: &str) -> Command {
    let mut command = Command::new(stand_in);
    command.arg(role);
    command
}

fn in_own_language(role: &str, language: Language) -> Result<Command> {
    let folder = root().join("demo").join(role);
    let program = |name: &str| find_program(name).with_context(|| format!("`{name}` is not on the path"));
    let command = |name: &str, arguments: &[&str], file: &str| -> Result<Command> {
        let mut command = Command::new(program(name)?);
        command.args(arguments).arg(folder.join(file));
        Ok(command)
    };
    match language {
        Language::Python => command("python3", &[], "inventory.py"),
        Language::Node => command("node", &[], "auth.js"),
        Language::Java => command("java", &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m"], "Payments.java"),
        Language::Go => {
            let binary = target().join("demo/orders");
            let mut build = Command::new(program("go")?);
            build.args(["build", "-o"]).arg(&binary).arg(folder.join("orders.go"));
            say("demo: building the service in Go");
            output_of(&mut build)?;
            Ok(Command::new(binary))
        }
        Language::Rust => bail!("the stand-in is in Rust itself"),
    }
}

/// All are held until all are chosen, so that they differ.
fn free_ports() -> Result<[u16; 5]> {
    let mut listeners = Vec::new();
    let mut ports = [0; 5];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
