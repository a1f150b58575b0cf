// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small HTTP/1.1 servers to be watched: in a thread of the test, or as a process of its own.
//!
//! One thread per connection, plain reads and writes, whole responses in one write: what is on the wire is what the test
//! says, and nothing a library decides.

use std::{
    env,
    io::{BufRead, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(has, _)| has == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// `/status/503` answers 503, `/bytes/1000` answers 1000 bytes, everything else its own path.
#[must_use]
pub fn sample(request: &Request) -> Response {
    let number = |prefix| request.path.strip_prefix(prefix).and_then(|number| number.parse::<usize>().ok());
    match (number("/status/"), number("/bytes/")) {
        (Some(status), _) => Response { status: u16::try_from(status).unwrap_or(500), body: Vec::new() },
        (_, Some(length)) => Response { status: 200, body: vec![b'x'; length] },
        _ => Response { status: 200, body: request.path.clone().into_bytes() },
    }
}

/// A server in threads of this process. Dropped, it takes no more connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at a free loopback port.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Result<Self> {
        Self::start_at("127.0.0.1:0", handler)
    }

    /// # Errors
    ///
    /// The address is taken.
    pub fn start_at(address: &str, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (answered, stopping) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (handler, count, stop) = (Arc::new(handler), Arc::clone(&answered), Arc::clone(&stopping));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !stop.load(Ordering::Acquire)) {
                let (handler, count) = (Arc::clone(&handler), Arc::clone(&count));
                // A client that breaks off ends its own connection only.
                thread::spawn(move || serve(&stream, &*handler, &count));
            }
        });
        Ok(Self { address, answered, stopping, accepting: Some(accepting) })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Responses written so far.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the accepting thread, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(stream: &TcpStream, handler: &dyn Fn(&Request) -> Response, answered: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let response = handler(&request);
        let close = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let connection = if close { "close" } else { "keep-alive" };
        let mut bytes = format!(
            "HTTP/1.1 {} Status\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            response.status,
            response.body.len()
        )
        .into_bytes();
        if request.method != "HEAD" {
            bytes.extend_from_slice(&response.body);
        }
        // Before the write: whoever has read the response finds it counted.
        answered.fetch_add(1, Ordering::Release);
        (&mut &*stream).write_all(&bytes)?;
        if close {
            return stream.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

/// The next request with a Content-Length body; none where the client has closed.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut request = Request::default();
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    request.method = words.next().unwrap_or_default();
    request.path = words.next().unwrap_or_default();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// The sample server as a process of its own, so that the test that loads it is not watched with it. Dropped, it ends; it
/// also ends when the test dies.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start() -> Result<Self> {
        Self::start_as(Command::new(Self::program()?))
    }

    /// Where its program lies.
    ///
    /// # Errors
    ///
    /// The test lies in no target folder.
    pub fn program() -> Result<PathBuf> {
        // Tests lie in `deps/`, the programs of their package one folder above.
        let test = env::current_exe()?;
        let folder = test.parent().and_then(|deps| deps.parent()).context("the test lies in a target folder")?;
        Ok(folder.join("sample-server"))
    }

    /// By a command that the test has made, of a copy or for another user.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_as(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("it says {line:?} instead of its address"))?;
        Ok(Self { child, address })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
