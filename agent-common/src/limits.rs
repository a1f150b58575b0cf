// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The limits that both sides of the ring buffer must agree on, each with who is hurt when it moves.

/// Payload bytes in one record. Larger: the per-CPU scratch grows, and one record may take a large part of a small ring.
/// Smaller: long header blocks take more records.
pub const RECORD_PAYLOAD_BYTES: usize = 16 * 1024;

/// Payload bytes copied per connection and direction until the conversation turns; later bytes are sent as lengths.
/// Larger: bodies nobody reads are copied. Smaller: the traceparent at the end of a 64 KiB header block is lost.
pub const TURN_BUDGET_BYTES: u32 = 68 * 1024;

/// Payload bytes of data that a block of headers lets be copied on a framed connection, up to a turn's. Larger: bodies nobody
/// reads are copied. Smaller: small messages that share a frame are not all counted.
pub const HEADERS_BUDGET_BYTES: u32 = 16 * 1024;

/// Steps through one call: through the pieces of a vector, and the frames of a framed connection, of which a header is one
/// and what follows it another. The rest of the call is sent as a length. Larger: more instructions for the verifier to walk.
/// Smaller: a call with many small frames loses the place.
pub const STEPS_PER_CALL: usize = 2048;

/// Connections that the daemon has found to be framed when they were under way, until the kernel has asked for them.
/// Larger: kernel memory. Smaller: where many are joined at once, long calls cut the heads of some.
pub const FRAMED_CONNECTIONS: u32 = 4096;

/// Pieces of one `writev` or `readv` among which its beginning is looked for, where the kernel has gone through them: as
/// many as it takes (`UIO_MAXIOV`). Larger: nothing. Smaller: servers that write several answers at once are cut (Netty, with
/// gRPC: 114 pieces were seen).
pub const PIECES_PER_CALL: usize = 1024;

/// Slots that remember when a thread entered a write. Larger: memory. Smaller: two threads whose ids collide
/// fall back to the time of the call's return.
pub const ENTRY_SLOTS: u32 = 4096;

/// Threads that have a place of their own for the call that they are in; the `kprobe` backend only. A power of two. Larger:
/// kernel memory, 48 bytes each. Smaller: more threads are looked up in the table below, which costs more.
pub const CALL_PLACES: u32 = 4096;

/// Further threads whose call is remembered. Larger: kernel memory, 100 bytes each when in use. Smaller: what still more
/// threads do is not seen, and counted.
pub const CROWDED_CALLS: u32 = 65_536;

/// Threads that wait in a call when the functions' hooks are attached. Larger: kernel memory, 60 bytes each when in use.
/// Smaller: what further threads were waiting for is missed.
pub const EARLY_CALLS: u32 = 16_384;

/// Connections followed at once. Larger: kernel memory, 200 bytes each when in use. Smaller: connections past it are
/// not followed, and counted.
pub const CONNECTIONS: u32 = 131_072;

/// Slots that remember the call to a TLS library that a thread is in. Larger: kernel memory, 64 bytes each. Smaller: two
/// threads whose ids collide while both are in such a call lose one of them, which is counted.
pub const TLS_CALL_SLOTS: u32 = 16_384;

/// TLS sessions followed at once. Larger: kernel memory, 150 bytes each when in use. Smaller: sessions past it are not read,
/// and counted.
pub const TLS_SESSIONS: u32 = 65_536;

/// Pieces of memory in which records are put together, twice the payload each: one for sockets, and the others for plaintext,
/// whose programs can be preempted. More: kernel memory. Fewer: what a preempted program was about to tell is lost, and counted.
pub const SCRATCHES_PER_PROCESSOR: u32 = 3;

/// Process ids per entry of the process map; a byte each, so that no atomic is needed to change one.
pub const PROCESSES_PER_BLOCK: u32 = 64;

/// Bytes of the ring buffer by default. Larger: resident memory, of which the ring takes twice its size, because the
/// kernel maps it twice in a row. Smaller: bursts are lost that come while the daemon waits for a processor.
pub const RING_BYTES: u32 = 4 * 1024 * 1024;
