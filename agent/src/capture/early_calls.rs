// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Threads that wait in a call on a socket while the hooks are attached: function hooks see calls from their entry only.
//!
//! In: `/proc`. Out: the list for the kernel program that looks at these threads' next return, and the end of that watch.
//! It prefers to miss the first bytes of a thread that cannot be looked at, over watching every system call for good.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use agent_common::limits::EARLY_CALLS as MOST;
use aya::{
    Ebpf,
    maps::HashMap,
    programs::{RawTracePoint, raw_trace_point::RawTracePointLink},
};

use super::{CaptureError, backends::EARLY_CALLS, error::refused, programs::share, shared::SharedArray};

/// How long returns are watched for. Longer: each system call of the machine costs about 40 ns for longer. Shorter: the
/// first bytes of threads that waited longer are missed.
const LIMIT: Duration = Duration::from_secs(300);

/// Calls that move bytes and may wait.
const CALLS: [libc::c_long; 12] = [
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_pwritev2,
];

/// The watch over threads that were waiting. Dropping it detaches the program.
pub struct EarlyCalls {
    ended: SharedArray,
    waiting: u32,
    began: Instant,
    _link: RawTracePointLink,
}

impl EarlyCalls {
    /// Begins the watch, where any thread waits.
    pub fn begin(programs: &mut Ebpf) -> Result<Option<Self>, CaptureError> {
        const MAP: &str = "EARLY_CALL_BY_THREAD";
        let threads = waiting_threads();
        if threads.is_empty() {
            return Ok(None);
        }
        let map = programs.map_mut(MAP).expect("the object holds the map");
        let map_refused = |source| CaptureError::Map { map: MAP, source: Box::new(source) };
        let mut by_thread: HashMap<_, u32, u32> = HashMap::try_from(map).map_err(map_refused)?;
        let mut waiting = 0;
        for thread in threads.into_iter().take(MOST as usize) {
            by_thread.insert(&thread, &0, 0).map_err(map_refused)?;
            waiting += 1;
        }
        let program = programs.program_mut(EARLY_CALLS).expect("the object holds the program");
        let program_refused = |source| refused(EARLY_CALLS, source);
        let program = <&mut RawTracePoint>::try_from(program).map_err(program_refused)?;
        program.load().map_err(program_refused)?;
        let link = program.attach("sys_exit").and_then(|link| program.take_link(link)).map_err(program_refused)?;
        let ended = share(programs, "EARLY_CALLS_ENDED", size_of::<u32>())?;
        Ok(Some(Self { ended, waiting, began: Instant::now(), _link: link }))
    }

    /// Whether nobody waits any more, or nobody is waited for any more.
    pub fn is_over(&self) -> bool {
        self.ended.first_word() >= self.waiting || self.began.elapsed() >= LIMIT
    }
}

/// Ids of the threads that are in a call on a socket now.
pub(super) fn waiting_threads() -> Vec<u32> {
    let mut waiting = Vec::new();
    for process in numbered(Path::new("/proc")) {
        for thread in numbered(&Path::new("/proc").join(process.to_string()).join("task")) {
            if waits(process, thread) {
                waiting.push(thread);
            }
        }
    }
    waiting
}

fn numbered(folder: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// `/proc/PID/task/TID/syscall`: the call's number and arguments, in hexadecimal, or `running` (proc(5)).
fn waits(process: u32, thread: u32) -> bool {
    let folder = Path::new("/proc").join(process.to_string()).join("task").join(thread.to_string());
    let Ok(state) = fs::read_to_string(folder.join("syscall")) else { return false };
    descriptor_of(&state).is_some_and(|descriptor| {
        let target = fs::read_link(folder.join("fd").join(descriptor.to_string()));
        target.is_ok_and(|target| target.to_str().is_some_and(|target| target.starts_with("socket:")))
    })
}

/// The first argument, where the call is one that moves bytes.
fn descriptor_of(state: &str) -> Option<u32> {
    let mut words = state.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let descriptor = words.next()?.strip_prefix("0x")?;
    if CALLS.contains(&number) { u32::from_str_radix(descriptor, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_move_bytes_count() {
        let state = |number: libc::c_long| format!("{number} 0x1f 0x7ffc 0x0 0x0 0x0 0x0 0x7ffe 0x7f00\n");
        assert_eq!(descriptor_of(&state(libc::SYS_recvfrom)), Some(31));
        assert_eq!(descriptor_of(&state(libc::SYS_futex)), None);
        assert_eq!(descriptor_of("running\n"), None);
        assert_eq!(descriptor_of("-1 0x0 0x0\n"), None);
    }

    #[test]
    fn a_thread_that_reads_from_a_socket_is_found() {
        use std::{io::Read as _, os::unix::net::UnixStream};
        let (mut reader, writer) = UnixStream::pair().expect("sockets can be made");
        let reading = std::thread::spawn(move || reader.read(&mut [0; 1]));
        let deadline = Instant::now() + Duration::from_secs(10);
        let own = std::process::id();
        while !waiting_threads().iter().any(|thread| Path::new(&format!("/proc/{own}/task/{thread}")).exists()) {
            assert!(Instant::now() < deadline, "it was not found");
            std::thread::yield_now();
        }
        drop(writer);
        assert_eq!(reading.join().expect("it does not panic").expect("an end"), 0);
    }
}
