// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The one place where records leave and losses are counted.

use agent_common::{limits::RING_BYTES, losses::Loss, records::reader};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::bpf_ringbuf_output,
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

/// How the daemon waits: see `agent_common::records::reader`. Mapped into the daemon.
#[map]
static READER: Array<u32> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// By `Loss`.
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// Bytes waiting in the ring that end a nap. Set by the daemon to a quarter of the ring.
#[unsafe(no_mangle)]
static WATERMARK_BYTES: u64 = RING_BYTES as u64 / 4;

/// Copies `size` bytes from `record` into the ring. False where they were lost, which is counted here.
#[inline(always)]
pub fn emit<T>(record: *const T, size: u64) -> bool {
    let ring = (&raw const RECORDS).cast_mut().cast();
    // SAFETY: the verifier checks that `size` bytes at `record` are readable and written.
    let result = unsafe { bpf_ringbuf_output(ring, record.cast_mut().cast(), size, wake_up()) };
    if result != 0 {
        count(Loss::RingFull, 1);
    }
    result == 0
}

#[inline(always)]
pub fn count(loss: Loss, amount: u64) {
    if let Some(total) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: this processor's own entry. An interrupt between read and write can take one count away.
        unsafe { *total += amount }
    }
}

/// Wake-ups cost more than copies: only a sleeping reader gets one, and only one.
#[inline(always)]
fn wake_up() -> u64 {
    let Some(state) = READER.get_ptr_mut(0) else { return u64::from(BPF_RB_NO_WAKEUP) };
    // SAFETY: the only entry of an array. Two processors that read it together wake the daemon twice, which is harmless.
    let waits = unsafe { state.read_volatile() };
    let due = waits == reader::ASLEEP
        || (waits == reader::NAPPING
            // SAFETY: a static; volatile, because the daemon replaces it at load.
            && RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)) > unsafe { (&raw const WATERMARK_BYTES).read_volatile() });
    if !due {
        return u64::from(BPF_RB_NO_WAKEUP);
    }
    // SAFETY: as above.
    unsafe { state.write_volatile(reader::AWAKE) }
    u64::from(BPF_RB_FORCE_WAKEUP)
}
