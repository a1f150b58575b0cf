// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What one hit costs on an instruction that the kernel emulates, and on one that it steps over, in functions of this very
//! program: what a function's entry costs where it is one of the usual kind.
//!
//! In: nothing. Out: nanoseconds more than without a probe. Instructions are x86-64's.

use std::{arch::global_asm, fs, fs::File, hint::black_box, time::Instant};

use anyhow::{Context as _, Result};

use crate::{link, link::Places, median};

const CALLS: u32 = 20_000;
const ROUNDS: usize = 9;

/// A function by its first instruction.
pub struct Entry {
    pub instruction: &'static str,
    function: unsafe extern "C" fn(),
}

/// A hit of the entry alone, and one with its return.
pub struct Cost {
    pub entered: f64,
    pub returned: f64,
}

// A frame as compilers begin it: with a saved register, with room for variables, with the mark of a target of indirect calls.
global_asm!(
    ".globl bench_hit_push, bench_hit_sub, bench_hit_endbr",
    "bench_hit_push: push rbp",
    "pop rbp",
    "ret",
    "bench_hit_sub: sub rsp, 24",
    "add rsp, 24",
    "ret",
    "bench_hit_endbr: endbr64",
    "push rbp",
    "pop rbp",
    "ret",
);

unsafe extern "C" {
    fn bench_hit_push();
    fn bench_hit_sub();
    fn bench_hit_endbr();
}

pub const ENTRIES: [Entry; 3] = [
    Entry { instruction: "push %rbp", function: bench_hit_push },
    Entry { instruction: "sub $24,%rsp", function: bench_hit_sub },
    Entry { instruction: "endbr64", function: bench_hit_endbr },
];

impl Entry {
    pub fn measure(&self) -> Result<Cost> {
        let program = File::open("/proc/self/exe")?;
        let offset = self.offset()?;
        let mut measured = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            measured[0].push(self.call());
            let entry = || Places { entered: vec![offset], returned: Vec::new() };
            let links = link::attach(&program, &entry())?;
            measured[1].push(self.call());
            drop(links);
            let links = link::attach(&program, &Places { returned: vec![offset], ..entry() })?;
            measured[2].push(self.call());
            drop(links);
        }
        let [none, entered, returned] = measured.map(median);
        Ok(Cost { entered: entered - none, returned: returned - none })
    }

    /// Nanoseconds for a call.
    fn call(&self) -> f64 {
        let began = Instant::now();
        for _ in 0..CALLS {
            // SAFETY: it takes nothing, and leaves the stack as it was.
            unsafe { black_box(self.function)() }
        }
        began.elapsed().as_nanos() as f64 / f64::from(CALLS)
    }

    /// Where it lies in the program's file.
    fn offset(&self) -> Result<u64> {
        let address = self.function as usize as u64;
        let maps = fs::read_to_string("/proc/self/maps")?;
        let place = maps.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text: &str| u64::from_str_radix(text, 16).ok();
            let (from, to, offset) = (number(from)?, number(to)?, number(words.nth(1)?)?);
            (from..to).contains(&address).then_some(address - from + offset)
        });
        place.context("the function is mapped")
    }
}
