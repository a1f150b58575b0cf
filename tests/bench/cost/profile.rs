// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where instructions go, by function: the kernel's clock samples what the processor is at, in the kernel and in
//! processes, and symbols name it.
//!
//! In: a stretch of time. Out: a share for each function. A sample itself costs some thousand instructions: never while
//! something is counted. Code that runs with interrupts off is charged to where they are let in again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, ObjectSymbol as _};

use crate::perf::{self, Event};

/// Instructions between two samples of requests. More: rare functions are not seen. Fewer: the samples take longer than
/// the rest.
pub const FINE: u64 = 20_000;
/// The same, of the seconds in which Onlooker starts.
pub const COARSE: u64 = 1_000_000;

/// Of the buffer: 4096 bytes each. Fewer: samples are lost.
const DATA_PAGES: usize = 2048;
const PAGE: usize = 4096;

/// The first half of the address space is the processes'.
const KERNEL_BEGINS: u64 = 1 << 63;

const SOFTWARE: u32 = 1;
const SAMPLE_IP: u64 = 1;
const SAMPLE_TID: u64 = 2;
const DISABLED: u64 = 1;
const DISABLE: libc::c_ulong = 0x2401;
const RECORD_SAMPLE: u32 = 9;
/// `data_head` of `struct perf_event_mmap_page`.
const DATA_HEAD_AT: usize = 1024;

pub struct Profiler {
    period: u64,
    event: OwnedFd,
    buffer: *mut u8,
}

/// Instructions by process and address.
pub struct Samples(HashMap<(u32, u64), u64>);

impl Profiler {
    /// Samples from now on, whatever runs.
    pub fn start(period: u64) -> Result<Self> {
        let event = Event {
            kind: SOFTWARE,
            sample_period: period,
            sample_type: SAMPLE_IP | SAMPLE_TID,
            flags: DISABLED,
            ..Event::default()
        };
        let event = event.open()?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of a descriptor that is open.
        let buffer = unsafe {
            libc::mmap(ptr::null_mut(), (1 + DATA_PAGES) * PAGE, protection, libc::MAP_SHARED, event.as_raw_fd(), 0)
        };
        ensure!(buffer != libc::MAP_FAILED, "no buffer of samples: {}", io::Error::last_os_error());
        let profiler = Self { period, event, buffer: buffer.cast() };
        profiler.tell(perf::ENABLE)?;
        Ok(profiler)
    }

    fn tell(&self, command: libc::c_ulong) -> Result<()> {
        // SAFETY: commands without an argument.
        let result = unsafe { libc::ioctl(self.event.as_raw_fd(), command as _, 0) };
        ensure!(result == 0, "sampling takes no command: {}", io::Error::last_os_error());
        Ok(())
    }

    pub fn stop(self) -> Result<Samples> {
        self.tell(DISABLE)?;
        let mut samples = HashMap::new();
        // SAFETY: the kernel's head, in the first page of the mapping.
        let head = unsafe { self.buffer.add(DATA_HEAD_AT).cast::<u64>().read_volatile() } as usize;
        ensure!(head <= DATA_PAGES * PAGE, "the buffer of samples was too small");
        // SAFETY: `head` bytes of the data pages are written, and the kernel writes no more.
        let mut data = unsafe { std::slice::from_raw_parts(self.buffer.add(PAGE), head) };
        // struct perf_event_header: type, misc, size; then the address, the process and the thread.
        while let Some((header, _)) = data.split_first_chunk::<8>() {
            let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
            let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
            let (record, rest) = data.split_at_checked(size).context("a record that is cut short")?;
            if let (RECORD_SAMPLE, Some(address), Some(pid)) = (kind, word(record, 8), word(record, 16)) {
                *samples.entry((pid as u32, address)).or_default() += self.period;
            }
            data = rest;
        }
        Ok(Samples(samples))
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // SAFETY: the mapping of this size that `start` has made; nothing points into it any more.
        unsafe { libc::munmap(self.buffer.cast(), (1 + DATA_PAGES) * PAGE) };
    }
}

fn word(record: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*record.get(at..)?.first_chunk()?))
}

/// Functions by where they begin.
struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    /// The kernel's, its programs included where `net.core.bpf_jit_kallsyms` was on when they were loaded.
    fn of_kernel() -> Result<Self> {
        let mut symbols = BTreeMap::new();
        for line in fs::read_to_string("/proc/kallsyms")?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [address, kind, name, ..] = words.as_slice()
                && kind.eq_ignore_ascii_case("t")
            {
                symbols.insert(u64::from_str_radix(address, 16)?, (*name).to_owned());
            }
        }
        Ok(Self(symbols))
    }

    /// A process's, from its static executable.
    fn of_process(pid: u32) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let program = fs::read_link(format!("/proc/{pid}/exe"))?;
        let first = maps.lines().find(|line| line.ends_with(&*program.to_string_lossy()));
        let lowest = first.and_then(|line| line.split('-').next()).context("a process without its program")?;
        let image = fs::read(format!("/proc/{pid}/exe"))?;
        let file = object::File::parse(image.as_slice())?;
        let is_moved = file.kind() == object::ObjectKind::Dynamic;
        let base = if is_moved { u64::from_str_radix(lowest, 16)? } else { 0 };
        let names = file.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text);
        let name =
            |symbol: &object::Symbol<'_, '_>| Some(format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?)));
        Ok(Self(names.filter_map(|symbol| Some((base + symbol.address(), name(&symbol)?))).collect()))
    }

    fn name(&self, address: u64) -> &str {
        self.0.range(..=address).next_back().map_or("unknown", |(_, name)| name)
    }
}

impl Samples {
    /// Instructions by function of these processes, most first.
    pub fn by_function(&self, pids: &[u32]) -> Result<Vec<(String, u64)>> {
        let kernel = Symbols::of_kernel()?;
        let mut functions = BTreeMap::<String, u64>::new();
        for &pid in pids {
            let process = Symbols::of_process(pid)?;
            for ((_, address), instructions) in self.0.iter().filter(|((sampled, _), _)| *sampled == pid) {
                let name = match *address {
                    KERNEL_BEGINS.. => format!("kernel: {}", kernel.name(*address)),
                    _ => process.name(*address).to_owned(),
                };
                *functions.entry(name).or_default() += instructions;
            }
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(_, instructions)| Reverse(*instructions));
        Ok(functions)
    }
}
