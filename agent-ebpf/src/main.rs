// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The kernel side: read, filter, emit. No protocol is known here.
//!
//! In: hooks, in `probes/`, named by what they watch. Out: the records of agent-common, through `emit.rs` alone.
//! Does not: parse, decide what is interesting, or write anything but its own maps.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bounds;
mod calls;
mod connection;
mod emit;
mod entries;
mod fields;
mod frames;
mod gather;
mod iterator;
mod probes;
mod processes;
mod registers;
mod socket;
mod tls;
mod transfer;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
