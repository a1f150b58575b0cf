// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Process 1 of a guest: makes the machine what programs expect, runs the one program that it was given, says over the
//! console how that ended, and turns the machine off.
//!
//! In: `/etc/onlooker-guest/command` and `environment`, words with a zero behind each. Out: the program's output between
//! two lines that `xtask/src/vm/guest.rs` knows. It does not restart, log or guard anything.

use std::{
    ffi::CStr,
    fs::{self, OpenOptions},
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::{fd::AsRawFd as _, unix::process::ExitStatusExt as _},
    process::{Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, ensure};

/// Where to, what kind, with which options.
const MOUNTS: &[(&CStr, &CStr, &CStr)] = &[
    (c"/proc", c"proc", c""),
    (c"/sys", c"sysfs", c""),
    (c"/dev", c"devtmpfs", c""),
    (c"/dev/shm", c"tmpfs", c"mode=1777"),
    (c"/tmp", c"tmpfs", c"mode=1777"),
    (c"/run", c"tmpfs", c""),
    (c"/sys/kernel/tracing", c"tracefs", c""),
    (c"/sys/fs/bpf", c"bpf", c""),
    (c"/sys/fs/cgroup", c"cgroup2", c""),
];

/// As systemd leaves them: open files that a program may ask for.
const OPEN_FILES: libc::rlimit = libc::rlimit { rlim_cur: 1024, rlim_max: 524_288 };

fn main() {
    let status = prepare().and_then(|()| run()).unwrap_or_else(|error| {
        println!("onlooker-guest: {error:#}");
        127
    });
    println!("onlooker-guest: end {status}");
    // SAFETY: no pointers. Nothing is mounted that has to be written back; the console is: it is drained first.
    unsafe {
        libc::tcdrain(libc::STDOUT_FILENO);
        libc::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF);
    }
}

fn prepare() -> Result<()> {
    for (place, kind, options) in MOUNTS {
        fs::create_dir_all(place.to_str()?)?;
        // SAFETY: four strings that end in a zero.
        let result = unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
        ensure!(result == 0, "cannot mount {kind:?} at {place:?}: {}", io::Error::last_os_error());
        if *place == c"/dev" {
            open_console()?;
        }
    }
    for (link, to) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        std::os::unix::fs::symlink(format!("/proc/self/{to}"), format!("/dev/{link}"))?;
    }
    // SAFETY: a limit, by reference.
    ensure!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &OPEN_FILES) } == 0, "no limit of open files is set");
    loopback_up()
}

/// The console becomes what this process and its children read and write, with lines ending as they are written.
fn open_console() -> Result<()> {
    let console = OpenOptions::new().read(true).write(true).open("/dev/console")?;
    // SAFETY: all zeros is a termios; the descriptor is open; dup2 takes no pointers.
    unsafe {
        let mut terminal: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(console.as_raw_fd(), &mut terminal) == 0 {
            terminal.c_oflag &= !libc::OPOST;
            terminal.c_lflag &= !(libc::ECHO | libc::ICANON);
            libc::tcsetattr(console.as_raw_fd(), libc::TCSANOW, &terminal);
        }
        for descriptor in 0..3 {
            ensure!(libc::dup2(console.as_raw_fd(), descriptor) == descriptor, "the console cannot be used");
        }
    }
    Ok(())
}

fn loopback_up() -> Result<()> {
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    ensure!(socket >= 0, "no socket: {}", io::Error::last_os_error());
    // SAFETY: all zeros is an ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request names an interface and its flags; the descriptor is ours, and closed once.
    let result = unsafe {
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request);
        libc::close(socket);
        result
    };
    ensure!(result == 0, "loopback does not come up: {}", io::Error::last_os_error());
    Ok(())
}

/// Runs the program to its end. Gives its status, or 128 and the signal that ended it.
fn run() -> Result<i32> {
    let command = words("/etc/onlooker-guest/command")?;
    let (program, arguments) = command.split_first().context("there is no command")?;
    let mut process = Command::new(program);
    process.args(arguments).env_clear().current_dir("/tmp");
    process.env("PATH", "/bin").env("HOME", "/tmp").env("TMPDIR", "/tmp");
    for assignment in words("/etc/onlooker-guest/environment")? {
        let (name, value) = assignment.split_once('=').context("an assignment has a =")?;
        process.env(name, value);
    }
    println!("onlooker-guest: begin");
    // Through pipes: what programs print without a line's end on one of them would tear the other's lines apart.
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().with_context(|| format!("cannot start {program}"))?;
    let output = pass_on(child.stdout.take().context("it is piped")?);
    let errors = pass_on(child.stderr.take().context("it is piped")?);
    let status = wait_for(i32::try_from(child.id())?)?;
    for stream in [output, errors] {
        stream.join().expect("it returns its errors")?;
    }
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
}

/// Writes what comes to the console, by whole lines.
fn pass_on(stream: impl Read + Send + 'static) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line)? > 0 {
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            io::stdout().write_all(&line)?;
            line.clear();
        }
        Ok(())
    })
}

/// Waits for this child, and for whatever was left to process 1 meanwhile.
fn wait_for(child: libc::pid_t) -> Result<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: the status is writable.
        let ended = unsafe { libc::waitpid(-1, &mut status, 0) };
        if ended == child {
            return Ok(ExitStatus::from_raw(status));
        }
        let error = io::Error::last_os_error();
        ensure!(ended >= 0 || error.kind() == io::ErrorKind::Interrupted, "waitpid: {error}");
    }
}

fn words(file: &str) -> Result<Vec<String>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {file}"))?;
    Ok(String::from_utf8(bytes)?.split_terminator('\0').map(str::to_owned).collect())
}
