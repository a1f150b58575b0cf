// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Why a kernel record was not delivered. One counter per reason and CPU lives in the kernel; the names are the
//! `reason` label of `onlooker_kernel_records_lost_total`.

/// Reasons, in the order of the kernel's counter array.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The ring buffer had no room.
    RingFull = 0,
    /// The table of connections was full, so that a connection could not be followed.
    ConnectionTableFull = 1,
    /// A payload lay in memory that could not be read; its length was delivered.
    PayloadUnreadable = 2,
    /// Exchanges of which no record was delivered, on connections whose end could not be delivered either.
    ExchangesUnreported = 3,
    /// A 32-bit process called: its registers mean other things.
    CompatCall = 4,
    /// A program was preempted, and the task that took its place on the processor needed the same memory.
    ScratchTaken = 5,
    /// The table of calls under way was full, so that a call's end could not be told.
    CallTableFull = 6,
    /// Two threads that were in calls to TLS libraries shared a slot: what the first one's call moves is not seen.
    TlsCallsCollided = 7,
    /// The table of TLS sessions was full, so that a session could not be read.
    SessionTableFull = 8,
    /// Go handed bytes to a reader whose beginning had not been seen.
    ReaderUnknown = 9,
    /// A record of TLS was made, or taken apart, by a program whose socket for it was not certain.
    RecordUnbound = 10,
}

impl Loss {
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::ConnectionTableFull,
        Self::PayloadUnreadable,
        Self::ExchangesUnreported,
        Self::CompatCall,
        Self::ScratchTaken,
        Self::CallTableFull,
        Self::TlsCallsCollided,
        Self::SessionTableFull,
        Self::ReaderUnknown,
        Self::RecordUnbound,
    ];

    /// The `reason` label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::ConnectionTableFull => "connection_table_full",
            Self::PayloadUnreadable => "payload_unreadable",
            Self::ExchangesUnreported => "exchanges_unreported",
            Self::CompatCall => "compat_call",
            Self::ScratchTaken => "scratch_taken",
            Self::CallTableFull => "call_table_full",
            Self::TlsCallsCollided => "tls_calls_collided",
            Self::SessionTableFull => "session_table_full",
            Self::ReaderUnknown => "reader_unknown",
            Self::RecordUnbound => "record_unbound",
        }
    }
}
