// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a function returns, on each way to its end the last instruction that the kernel emulates and at which the result is known.
//!
//! In: a function's whole code. Out: places that every way passes exactly once, with the register that the result is in there, the
//! depth of the stack, and the condition under which the place leads elsewhere.
//! From each `ret` the ways are walked back, over instructions that leave the result alone or move it, to a jump. Where the result
//! comes to be, or is stored for the caller, without a jump behind it, the instruction after that is taken, whatever it costs.

use std::collections::BTreeMap;

use agent_common::plaintext::{Condition, Cookie};
use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::{
    super::{Entered, Leaving, Site},
    flow::{Edge, Flow},
    is_emulated, site, writes,
};

/// Instructions walked back over. Larger: more to look at for a function that ends in much code. Smaller: its ends are dear.
const WALK: usize = 256;

pub fn leaving(code: &[u8], address: u64, entered: Entered) -> Option<Leaving> {
    let flow = Flow::of(code, address)?;
    let inside = address..address + code.len() as u64;
    let mut leaving = Leaving::default();
    let mut only_guards = entered == Entered::Elsewhere;
    let mut returns = Vec::new();
    for (at, instruction) in flow.instructions.iter().enumerate() {
        match instruction.flow_control() {
            FlowControl::Return => returns.push(at),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                let target = instruction.near_branch_target();
                if !inside.contains(&target) {
                    leaving.jumps.push(target);
                }
            }
            FlowControl::IndirectBranch if is_by_table(&flow.instructions[..at], instruction) => only_guards = true,
            FlowControl::IndirectBranch => leaving.methods.push(method(&flow, at)?),
            _ if instruction.is_invalid() => return None,
            _ => {}
        }
    }
    let mut ways = Ways { flow: &flow, code, address, only_guards, places: BTreeMap::new() };
    for end in returns {
        if !ways.walk(end) {
            leaving.sites.push(ways.end(end));
        }
    }
    leaving.sites.extend(ways.sites());
    leaving.sites.sort_by_key(|site| site.offset);
    Some(leaving)
}

/// What is known before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// The result is in this register.
    In(Register),
    /// It says that there is none.
    Nothing,
    NotThere,
}

/// The ways to a function's ends, walked back.
struct Ways<'a> {
    flow: &'a Flow,
    code: &'a [u8],
    address: u64,
    /// Some of its instructions are reached by jumps that are not seen here. None of them leads past the check of the stack's
    /// guard, which each end begins with.
    only_guards: bool,
    /// By the instruction: where the kernel keeps the register with the result, and the edges that lead to an end.
    places: BTreeMap<usize, (u8, Vec<Edge>)>,
}

impl Ways<'_> {
    /// Whether the ways to an end could be walked to places that can be probed: else it is left as if it had not been asked for.
    fn walk(&mut self, end: usize) -> bool {
        let before = self.places.clone();
        let is_walked = self.flow.depth(end) == Some(0) && self.walk_back(end).is_some();
        if !is_walked {
            self.places = before;
        }
        is_walked
    }

    fn walk_back(&mut self, end: usize) -> Option<()> {
        let mut information = InstructionInfoFactory::new();
        let mut seen: BTreeMap<usize, Register> = BTreeMap::new();
        let mut waiting = vec![(end, Register::RAX)];
        while let Some((at, result)) = waiting.pop() {
            if let Some(known) = seen.insert(at, result) {
                if known != result {
                    return None;
                }
                continue;
            }
            if seen.len() > WALK {
                return None;
            }
            // What no way from the entry leads through is filling, or where a table leads.
            let into =
                self.flow.into(at).iter().filter(|(from, _)| self.only_guards || self.flow.depth(*from).is_some());
            let before: Vec<_> =
                into.map(|&(from, edge)| (from, edge, self.before(&mut information, from, result))).collect();
            if at == 0 || before.is_empty() || before.iter().any(|(_, _, before)| *before == Before::NotThere) {
                self.place(at, Some(result), None)?;
                continue;
            }
            for (from, edge, before) in before {
                match before {
                    Before::In(result) if self.is_jump(from) => self.place(from, Some(result), Some(edge))?,
                    Before::In(result) => waiting.push((from, result)),
                    Before::Nothing => self.place(from, None, None)?,
                    Before::NotThere => {}
                }
            }
        }
        Some(())
    }

    /// Nothing where it would have to be two things at once, or where it is not known what a hit there means.
    fn place(&mut self, at: usize, result: Option<Register>, edge: Option<Edge>) -> Option<()> {
        if (self.only_guards && edge.is_none()) || self.flow.depth(at).is_none() {
            return None;
        }
        let result = result.map_or(Some(Cookie::NOTHING), saved_at)?;
        let (known, edges) = self.places.entry(at).or_insert((result, Vec::new()));
        edges.extend(edge);
        (*known == result).then_some(())
    }

    fn is_jump(&self, at: usize) -> bool {
        let flow = self.flow.instructions[at].flow_control();
        matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
    }

    /// What is known of the result before an instruction that has it in a register behind it.
    fn before(&self, information: &mut InstructionInfoFactory, at: usize, result: Register) -> Before {
        let instruction = &self.flow.instructions[at];
        if self.is_jump(at) {
            let is_watched = self.is_emulated(at) && (!self.only_guards || self.is_guard(at));
            return if is_watched { Before::In(result) } else { Before::NotThere };
        }
        if instruction.flow_control() != FlowControl::Next || stores_for_caller(instruction) {
            return Before::NotThere;
        }
        if !writes(information, instruction, result) {
            return Before::In(result);
        }
        let target = instruction.op0_register();
        if target.full_register() != result || target.size() < 4 {
            return Before::NotThere;
        }
        let from = instruction.op1_register();
        match instruction.mnemonic() {
            Mnemonic::Mov if from.is_gpr() && from.full_register() != Register::RSP => Before::In(from.full_register()),
            Mnemonic::Mov if is_constant(instruction) && (instruction.immediate(1) as i32) <= 0 => Before::Nothing,
            Mnemonic::Xor if from == target => Before::Nothing,
            _ => Before::NotThere,
        }
    }

    fn is_emulated(&self, at: usize) -> bool {
        let instruction = &self.flow.instructions[at];
        is_emulated(instruction, self.code, instruction.ip() - self.address)
    }

    /// The check that the stack is whole: with it each end of a function begins, also where a table leads there.
    fn is_guard(&self, at: usize) -> bool {
        at > 0 && reads_guard(&self.flow.instructions[at - 1])
    }

    fn sites(&self) -> impl Iterator<Item = Site> {
        self.places.iter().map(|(&at, (result, edges))| {
            let instruction = &self.flow.instructions[at];
            let unless = match edges.as_slice() {
                [edge] if instruction.is_jcc_short_or_near() => {
                    // Numbered from 1 on, 0 being none.
                    let taken = Condition(instruction.condition_code() as u8 - 1);
                    Some(if *edge == Edge::Next { taken } else { taken.inverted() })
                }
                _ => None,
            };
            let known = "a place is taken only where it is known";
            let (offset, stack) = (instruction.ip() - self.address, self.flow.depth(at).expect(known));
            Site { offset, stack, unless, result: *result, ..site(instruction, self.is_emulated(at)) }
        })
    }

    /// The end itself, where the stack is what it was at the entry.
    fn end(&self, at: usize) -> Site {
        let instruction = &self.flow.instructions[at];
        Site { offset: instruction.ip() - self.address, ..site(instruction, false) }
    }
}

/// A register's place in the kernel's `struct pt_regs`; 0 for the usual one.
fn saved_at(register: Register) -> Option<u8> {
    use Register as R;
    const PLACES: [(Register, u8); 14] = [
        (R::RAX, 0),
        (R::R14, 1),
        (R::R13, 2),
        (R::R12, 3),
        (R::RBP, 4),
        (R::RBX, 5),
        (R::R11, 6),
        (R::R10, 7),
        (R::R9, 8),
        (R::R8, 9),
        (R::RCX, 11),
        (R::RDX, 12),
        (R::RSI, 13),
        (R::RDI, 14),
    ];
    PLACES.iter().find(|(known, _)| *known == register).map(|(_, place)| *place)
}

fn is_constant(instruction: &Instruction) -> bool {
    matches!(instruction.op1_kind(), OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64)
}

/// A caller's variable is written through its bare address; fields of objects lie behind theirs.
fn stores_for_caller(instruction: &Instruction) -> bool {
    let is_store = instruction.op0_kind() == OpKind::Memory && instruction.mnemonic() == Mnemonic::Mov;
    is_store && instruction.memory_base() != Register::RSP && instruction.memory_displacement64() == 0
}

/// The stack's guard lies at this place of the thread's own memory, in glibc and in musl (x86-64 psABI, 3.4.6 of GCC's manual:
/// `-mstack-protector-guard`).
fn reads_guard(instruction: &Instruction) -> bool {
    instruction.memory_segment() == Register::FS && instruction.memory_displacement64() == 0x28
}

/// A jump by a table of the function's own, and not to another function: a place in a table, or one that was added up just
/// before; or marked to be one, where other jumps are watched by the processor.
fn is_by_table(before: &[Instruction], jump: &Instruction) -> bool {
    let is_added = |instruction: &Instruction| {
        matches!(instruction.code(), Code::Add_r64_rm64 | Code::Add_rm64_r64)
            && instruction.op0_register() == jump.op0_register()
    };
    jump.memory_index() != Register::None
        || jump.segment_prefix() == Register::DS
        || before.iter().rev().take(3).any(is_added)
}

/// A jump to a method: through a table that an object points to, `mov a(object), table; mov b(table), method; jmp method`, with
/// the stack where it was at the entry. What is given is `b`.
fn method(flow: &Flow, jump: usize) -> Option<u32> {
    let mut information = InstructionInfoFactory::new();
    if flow.depth(jump) != Some(0) {
        return None;
    }
    let (mut at, mut wanted, mut displacement) = (jump, flow.instructions[jump].op0_register(), None);
    if flow.instructions[jump].op0_kind() == OpKind::Memory {
        displacement = Some(flow.instructions[jump].memory_displacement64());
        wanted = flow.instructions[jump].memory_base();
    }
    while flow.into(at) == [(at.checked_sub(1)?, Edge::Next)] {
        at -= 1;
        let instruction = &flow.instructions[at];
        if instruction.flow_control() != FlowControl::Next {
            return None;
        }
        if !writes(&mut information, instruction, wanted) {
            continue;
        }
        let is_load = instruction.code() == Code::Mov_r64_rm64
            && instruction.op1_kind() == OpKind::Memory
            && instruction.memory_index() == Register::None
            && instruction.op0_register() == wanted;
        if !is_load {
            return None;
        }
        match displacement {
            Some(displacement) => return u32::try_from(displacement).ok(),
            None => displacement = Some(instruction.memory_displacement64()),
        }
        wanted = instruction.memory_base();
    }
    None
}
