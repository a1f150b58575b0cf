// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Loads and attaches the kernel programs, reads their records, and tells them what to leave alone.
//!
//! In: offsets, sizes and who is watched. Out: kernel events. Nothing is pinned: when the daemon is gone, however it went,
//! the kernel detaches and frees everything.

use std::{fs::File, os::fd::AsFd as _, sync::atomic::Ordering, time::Duration};

use agent_common::{
    limits::{EARLY_CALLS, PROCESSES_PER_BLOCK, SCRATCHES_PER_PROCESSOR, TLS_CALL_SLOTS},
    losses::Loss,
    offsets::KernelOffsets,
    plaintext::SESSION_BIT,
    records::{CONNECTION_OVER, Connection, Watch, reader},
};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    Backend, CaptureError, KernelEvent, KernelTypes, ProbeLinks, ProbePlace,
    early_calls::{EarlyCalls, waiting_threads},
    probes::{self, ProbeMode},
    shared::SharedArray,
    wake_ups::WakeUps,
};
use crate::config::{BackendChoice, PortRange};

/// Ports in one entry of the kernel's array of selected ports.
const PORTS_PER_BLOCK: usize = 64;

#[derive(Clone, Debug)]
pub struct CaptureOptions {
    pub backend: BackendChoice,
    /// A power of two of at least one page.
    pub ring_bytes: u32,
    /// Every program that is executed is captured until the daemon has judged it.
    pub judge_every_exec: bool,
    /// What a listen on a port makes of its process, at once.
    pub ports: Vec<(PortRange, Watch)>,
    /// Libraries will be probed for what is said under TLS.
    pub reads_tls: bool,
}

/// How long to wait for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nap {
    /// Until the time is over, or the ring fills past its watermark.
    Timed(Duration),
    /// Until there is a record, or the time is over.
    UntilRecord(Duration),
}

/// Tells the kernel whom to watch.
pub struct Control {
    watch_by_process: SharedArray,
}

impl Control {
    /// Says what the kernel does with a process from now on.
    pub fn set_watch(&self, tgid: u32, watch: Watch) {
        if let Some(byte) = self.watch_by_process.byte(tgid as usize) {
            byte.store(watch as u8, Ordering::Relaxed);
        }
    }

    /// Leaves a process alone that was captured until it was judged.
    pub fn refuse(&self, tgid: u32) {
        self.set_watch(tgid, Watch::Refused);
    }
}

/// A backend that was tried and does not work here.
#[derive(Debug)]
pub struct Refusal {
    pub backend: Backend,
    pub error: CaptureError,
}

/// The attached programs.
pub struct Capture {
    backend: Backend,
    /// Better backends that were tried before.
    refusals: Vec<Refusal>,
    hooks: usize,
    records: RingBuf<MapData>,
    losses: PerCpuArray<MapData, u64>,
    connections: HashMap<MapData, u64, [u8; size_of::<Connection>()]>,
    framed: HashMap<MapData, u64, u64>,
    control: Control,
    reader: SharedArray,
    wake_ups: WakeUps,
    address_mask: u64,
    early_calls: Option<EarlyCalls>,
    early_threads: HashMap<MapData, u32, u32>,
    probe_mode: ProbeMode,
    /// Holds the programs and their links; dropped last.
    programs: Ebpf,
}

impl Capture {
    /// Loads the programs for this kernel and attaches them: those of the first backend that works.
    ///
    /// # Errors
    /// Says what the kernel or the privileges lack.
    pub fn start(options: &CaptureOptions) -> Result<Self, CaptureError> {
        let kernel = KernelTypes::read()?;
        let offsets = kernel.offsets();
        require_fields(&offsets, &OPTIONAL_FIELDS)?;
        let mut refusals = Vec::new();
        for &backend in Backend::candidates(options.backend) {
            match Self::start_with(backend, options, &kernel, &offsets) {
                Ok(capture) => return Ok(Self { refusals, ..capture }),
                Err(error) => refusals.push(Refusal { backend, error }),
            }
        }
        // The last is the one that asks for least.
        let Refusal { backend, error } = refusals.pop().expect("there is a candidate for every choice");
        Err(CaptureError::Backend { backend, source: Box::new(error) })
    }

    fn start_with(
        backend: Backend,
        options: &CaptureOptions,
        kernel: &KernelTypes,
        offsets: &KernelOffsets,
    ) -> Result<Self, CaptureError> {
        if backend.hooks_functions() {
            require_fields(offsets, &OPTIONAL_FOR_FUNCTIONS)?;
        }
        let address_mask = fastrand::u64(..);
        let largest_process = largest_process().ok_or(CaptureError::LargestProcess)?;
        let mut programs = load(backend, options, offsets, address_mask, largest_process)?;
        select_ports(&mut programs, &options.ports)?;
        let mut early_calls = None;
        let hooks = backend.attach(&mut programs, kernel, |programs| {
            if backend.hooks_functions() {
                early_calls = EarlyCalls::begin(programs)?;
            }
            Ok(())
        })?;
        let records = take(&mut programs, "RECORDS", RingBuf::try_from)?;
        let wake_ups = WakeUps::of(&records).map_err(|source| CaptureError::Wait { source: source.into() })?;
        Ok(Self {
            backend,
            refusals: Vec::new(),
            hooks,
            records,
            wake_ups,
            losses: take(&mut programs, "LOSSES", PerCpuArray::try_from)?,
            connections: take(&mut programs, "CONNECTION_BY_SOCKET", HashMap::try_from)?,
            framed: take(&mut programs, "FRAMED_BY_SOCKET", HashMap::try_from)?,
            control: Control { watch_by_process: share(&programs, "WATCH_BY_PROCESS", largest_process as usize)? },
            reader: share(&programs, "READER", size_of::<u32>())?,
            address_mask,
            early_calls,
            early_threads: take(&mut programs, "TLS_EARLY_THREADS", HashMap::try_from)?,
            probe_mode: ProbeMode::default(),
            programs,
        })
    }

    /// Ends the watch over calls that were under way at the start, when it is time.
    pub fn end_early_calls(&mut self) {
        if self.early_calls.as_ref().is_some_and(EarlyCalls::is_over) {
            self.early_calls = None;
        }
    }

    #[must_use]
    pub const fn control(&self) -> &Control {
        &self.control
    }

    /// The backend in use.
    #[must_use]
    pub const fn backend(&self) -> Backend {
        self.backend
    }

    /// Better backends that do not work here, and why.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Places in the kernel that programs are attached to.
    #[must_use]
    pub const fn hooks(&self) -> usize {
        self.hooks
    }

    /// Tells the kernel that a connection is of no interest: from now on it costs one look-up. `socket` and `connection`
    /// are as its opening record had them.
    pub fn leave_alone(&mut self, socket: u64, connection: u64) {
        let key = self.kernel_key(socket, connection);
        let Ok(bytes) = self.connections.get(&key, 0) else { return };
        let mut entry: Connection = bytemuck::pod_read_unaligned(&bytes);
        if entry.id != connection {
            return;
        }
        entry.flags |= CONNECTION_OVER;
        let mut bytes = [0; size_of::<Connection>()];
        bytes.copy_from_slice(bytemuck::bytes_of(&entry));
        // An entry that vanished meanwhile stays away; one that a new socket took in these microseconds would be left
        // alone wrongly, which is preferred over taking a lock in the kernel for every record.
        let _ = self.connections.insert(&key, &bytes, ONLY_EXISTING);
    }

    /// Attaches probes to places in a file, for all processes or one: to all of the places, or to none.
    ///
    /// # Errors
    /// Says what the kernel has refused.
    pub fn attach_probes(
        &mut self,
        file: &File,
        places: &[ProbePlace],
        only: Option<u32>,
    ) -> Result<ProbeLinks, CaptureError> {
        let links = probes::attach(&mut self.programs, &mut self.probe_mode, file, places, only)?;
        if only.is_none() {
            // They may be inside a function that is probed now; only calls that wait can be, for longer than an instant.
            for thread in waiting_threads().into_iter().take(EARLY_CALLS as usize) {
                let _ = self.early_threads.insert(&thread, &0, 0);
            }
        }
        Ok(links)
    }

    /// Tells the kernel that frames follow one another on a connection that was not known for it by its first bytes.
    pub fn treat_as_framed(&mut self, socket: u64, connection: u64) {
        // A full table forgets the oldest entries by itself; without an entry heads of long calls may be cut, and are counted.
        let _ = self.framed.insert(&self.kernel_key(socket, connection), &connection, 0);
    }

    /// By what the kernel finds a connection: its socket, or, where it is what TLS carries, its number.
    const fn kernel_key(&self, socket: u64, connection: u64) -> u64 {
        if connection & SESSION_BIT == 0 { socket ^ self.address_mask } else { connection }
    }

    /// Hands every record that is there to `handle`, at most `limit` of them; answers how many there were.
    pub fn read(&mut self, limit: usize, mut handle: impl FnMut(&[u8], KernelEvent<'_>, &Control)) -> usize {
        let mut count = 0;
        while count < limit {
            let Some(record) = self.records.next() else { break };
            count += 1;
            if let Some(event) = KernelEvent::decode(&record) {
                handle(&record, event, &self.control);
            }
        }
        count
    }

    /// Sleeps. The kernel is told before, so that it wakes the daemon when it is time and not more often.
    ///
    /// # Errors
    /// Where waiting fails for another reason than a signal.
    pub fn wait(&mut self, nap: Nap) -> Result<(), CaptureError> {
        let result = match nap {
            Nap::Timed(time) => {
                self.reader.set_first_word(reader::NAPPING);
                self.wake_ups.wait(time)
            }
            Nap::UntilRecord(time) => {
                self.reader.set_first_word(reader::ASLEEP);
                // A record that came before the line above woke nobody, but makes the ring readable.
                let mut ring = [PollFd::new(&self.records, PollFlags::IN)];
                poll(&mut ring, Timespec::try_from(time).ok().as_ref()).map(drop)
            }
        };
        self.reader.set_first_word(reader::AWAKE);
        match result {
            Err(source) if source != Errno::INTR => Err(CaptureError::Wait { source: source.into() }),
            _ => Ok(()),
        }
    }

    /// Records lost so far, by reason.
    ///
    /// # Errors
    /// Where the kernel does not give its counters.
    pub fn losses(&self) -> Result<[(Loss, u64); Loss::ALL.len()], CaptureError> {
        let mut totals = Loss::ALL.map(|loss| (loss, 0));
        for (loss, total) in &mut totals {
            let per_processor = self
                .losses
                .get(&(*loss as u32), 0)
                .map_err(|source| CaptureError::Map { map: "LOSSES", source: Box::new(source) })?;
            *total = per_processor.iter().sum();
        }
        Ok(totals)
    }
}

/// `BPF_EXIST` of include/uapi/linux/bpf.h.
const ONLY_EXISTING: u64 = 2;

/// The part of the ring that may fill before a nap is ended. Larger: less room for the burst that goes on meanwhile.
/// Smaller: more wake-ups.
const WATERMARK_PARTS: u64 = 4;

pub(super) fn load(
    backend: Backend,
    options: &CaptureOptions,
    offsets: &KernelOffsets,
    address_mask: u64,
    largest_process: u32,
) -> Result<Ebpf, CaptureError> {
    let watermark = u64::from(options.ring_bytes) / WATERMARK_PARTS;
    EbpfLoader::new()
        .override_global("KERNEL", bytemuck::bytes_of(offsets), true)
        .override_global("ADDRESS_MASK", &address_mask, true)
        .override_global("WATERMARK_BYTES", &watermark, true)
        .override_global("KEEPS_CALLS", &u8::from(backend == Backend::Kprobe), true)
        .override_global("READS_TLS", &u8::from(options.reads_tls), true)
        .override_global("JUDGE_EVERY_EXEC", &u8::from(options.judge_every_exec), true)
        .map_max_entries("RECORDS", options.ring_bytes)
        .map_max_entries("WATCH_BY_PROCESS", largest_process.div_ceil(PROCESSES_PER_BLOCK))
        .map_max_entries("SCRATCH", SCRATCHES_PER_PROCESSOR * processors())
        .map_max_entries("TLS_CALL_BY_THREAD", if options.reads_tls { TLS_CALL_SLOTS } else { 1 })
        .load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/onlooker.bpf.o")))
        .map_err(|source| CaptureError::Load { source: Box::new(source) })
}

fn select_ports(programs: &mut Ebpf, ports: &[(PortRange, Watch)]) -> Result<(), CaptureError> {
    const NAME: &str = "SELECTED_PORTS";
    let refused = |source| CaptureError::Map { map: NAME, source: Box::new(source) };
    let map = programs.map_mut(NAME).expect("the object holds the map");
    let mut selected: Array<_, [u8; PORTS_PER_BLOCK]> = Array::try_from(map).map_err(refused)?;
    let mut blocks = vec![[0; PORTS_PER_BLOCK]; (usize::from(u16::MAX) + 1) / PORTS_PER_BLOCK];
    for (range, watch) in ports {
        for port in (range.first..=range.last).map(usize::from) {
            blocks[port / PORTS_PER_BLOCK][port % PORTS_PER_BLOCK] = *watch as u8;
        }
    }
    for (index, block) in (0..).zip(&blocks) {
        if block.iter().any(|watch| *watch != Watch::No as u8) {
            selected.set(index, block, 0).map_err(refused)?;
        }
    }
    Ok(())
}

fn take<T>(
    programs: &mut Ebpf,
    name: &'static str,
    wrap: impl FnOnce(Map) -> Result<T, aya::maps::MapError>,
) -> Result<T, CaptureError> {
    let map = programs.take_map(name).expect("the object holds every map that is named here");
    wrap(map).map_err(|source| CaptureError::Map { map: name, source: Box::new(source) })
}

pub(super) fn share(programs: &Ebpf, name: &'static str, bytes: usize) -> Result<SharedArray, CaptureError> {
    let Some(Map::Array(map)) = programs.map(name) else { unreachable!("the object holds {name}, an array") };
    SharedArray::map(map.fd().as_fd(), bytes).map_err(|source| CaptureError::Share { source: source.into() })
}

/// Fields without which something is off, and nothing else.
const OPTIONAL_FIELDS: [&str; 13] = [
    "vm_area_struct.vm_flags",
    "file.f_ref",
    "unix_sock.peer",
    "net.ns",
    "ns_common.inum",
    "sock_common.skc_v6_rcv_saddr",
    "sock.sk_socket",
    "msghdr.msg_iter",
    "iov_iter.iter_type",
    "iov_iter.iov_offset",
    "iov_iter.ubuf",
    "iov_iter.__ubuf_iovec",
    "iov_iter.__iov",
];

/// The same for backends that hook functions: they find payloads by an iterator, which had no single buffer before Linux
/// 6.0, and another shape before 5.14.
const OPTIONAL_FOR_FUNCTIONS: [&str; 9] = [
    "vm_area_struct.vm_flags",
    "file.f_ref",
    "unix_sock.peer",
    "net.ns",
    "ns_common.inum",
    "sock_common.skc_v6_rcv_saddr",
    "sock.sk_socket",
    "iov_iter.ubuf",
    "iov_iter.__ubuf_iovec",
];

/// Those that a backend can do without.
pub(super) const fn optional_fields(backend: Backend) -> &'static [&'static str] {
    if backend.hooks_functions() { &OPTIONAL_FOR_FUNCTIONS } else { &OPTIONAL_FIELDS }
}

fn require_fields(offsets: &KernelOffsets, optional: &[&str]) -> Result<(), CaptureError> {
    match offsets.absent().find(|field| !optional.contains(field)) {
        Some(field) => Err(CaptureError::FieldAbsent { field }),
        None => Ok(()),
    }
}

/// One past the largest process id that the kernel gives out.
pub(super) fn largest_process() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()
}

/// Processors that may ever be on line.
fn processors() -> u32 {
    aya::util::nr_cpus().map_or(1, std::num::NonZeroU32::get)
}
