// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A function's code as a graph: what leads to each instruction, and how far the stack has grown there.
//!
//! In: the whole code. Out: for each instruction those that it is reached from, and the depth of the stack where that is the same
//! on every way. Does not: follow jumps by tables, whose targets are reached from nowhere here.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, Register};

use super::{decode, writes};

/// How one instruction leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// It stands before it.
    Next,
    /// It jumps there.
    Jump,
}

pub struct Flow {
    pub instructions: Vec<Instruction>,
    /// For each instruction those that lead to it.
    into: Vec<Vec<(usize, Edge)>>,
    depths: Vec<Depth>,
}

/// What is known of the stack at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    NotReached,
    At(Frame),
    /// It differs by the way that was taken, or is not told by the code alone.
    Unknown,
}

/// In bytes below the place of the return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    stack: i64,
    /// Where `rbp` points, while it is the frame's.
    base: Option<i64>,
}

impl Flow {
    /// Nothing where a jump leads between two instructions.
    pub fn of(code: &[u8], address: u64) -> Option<Self> {
        let instructions: Vec<Instruction> = decode(code, address).into_iter().collect();
        let mut flow = Self {
            into: vec![Vec::new(); instructions.len()],
            depths: vec![Depth::NotReached; instructions.len()],
            instructions,
        };
        for at in 0..flow.instructions.len() {
            for (to, edge) in flow.out_of(at)? {
                flow.into[to].push((at, edge));
            }
        }
        flow.measure();
        Some(flow)
    }

    pub fn into(&self, at: usize) -> &[(usize, Edge)] {
        &self.into[at]
    }

    /// Bytes that the stack has grown by, before the instruction is run.
    pub fn depth(&self, at: usize) -> Option<u32> {
        match self.depths[at] {
            Depth::At(frame) => u32::try_from(frame.stack).ok(),
            Depth::NotReached | Depth::Unknown => None,
        }
    }

    /// Where the function goes from an instruction, inside of itself.
    fn out_of(&self, at: usize) -> Option<Vec<(usize, Edge)>> {
        let instruction = &self.instructions[at];
        let next = (at + 1 < self.instructions.len()).then_some((at + 1, Edge::Next));
        let jump = || match self.find(instruction.near_branch_target()) {
            Place::At(to) => Some(Some((to, Edge::Jump))),
            Place::Outside => Some(None),
            Place::Between => None,
        };
        Some(match instruction.flow_control() {
            FlowControl::ConditionalBranch => next.into_iter().chain(jump()?).collect(),
            FlowControl::UnconditionalBranch => jump()?.into_iter().collect(),
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => next.into_iter().collect(),
            _ => Vec::new(),
        })
    }

    fn find(&self, address: u64) -> Place {
        match self.instructions.binary_search_by_key(&address, Instruction::ip) {
            Ok(at) => Place::At(at),
            Err(at) if at == 0 || at == self.instructions.len() => Place::Outside,
            Err(_) => Place::Between,
        }
    }

    fn measure(&mut self) {
        if self.instructions.is_empty() {
            return;
        }
        let mut information = InstructionInfoFactory::new();
        self.depths[0] = Depth::At(Frame { stack: 0, base: None });
        let mut waiting = vec![0];
        while let Some(at) = waiting.pop() {
            let after = match self.depths[at] {
                Depth::At(frame) => {
                    frame.after(&mut information, &self.instructions[at]).map_or(Depth::Unknown, Depth::At)
                }
                depth => depth,
            };
            for (to, _) in self.out_of(at).unwrap_or_default() {
                let merged = self.depths[to].merged(after);
                if merged != self.depths[to] {
                    self.depths[to] = merged;
                    waiting.push(to);
                }
            }
        }
    }
}

enum Place {
    At(usize),
    Outside,
    Between,
}

impl Depth {
    /// It only ever becomes less certain, so that measuring ends.
    fn merged(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotReached, other) => other,
            (Self::At(one), Self::At(other)) if one.stack == other.stack => {
                Self::At(Frame { base: one.base.filter(|base| other.base == Some(*base)), ..one })
            }
            _ => Self::Unknown,
        }
    }
}

impl Frame {
    fn after(self, information: &mut InstructionInfoFactory, instruction: &Instruction) -> Option<Self> {
        let target = instruction.op0_register();
        let moved = |by: i64| Some(Self { stack: self.stack + by, ..self });
        match instruction.code() {
            // Where it comes back, the return address is gone again.
            _ if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) => {
                return Some(self);
            }
            Code::Leaveq => return Some(Self { stack: self.base? - 8, base: None }),
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64
                if (target, instruction.op1_register()) == (Register::RBP, Register::RSP) =>
            {
                return Some(Self { base: Some(self.stack), ..self });
            }
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64
                if (target, instruction.op1_register()) == (Register::RSP, Register::RBP) =>
            {
                return Some(Self { stack: self.base?, ..self });
            }
            Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if target == Register::RSP => {
                return moved(instruction.immediate(1) as i64);
            }
            Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if target == Register::RSP => {
                return moved((instruction.immediate(1) as i64).wrapping_neg());
            }
            Code::Lea_r64_m if target == Register::RSP && instruction.memory_index() == Register::None => {
                let from = match instruction.memory_base() {
                    Register::RSP => self.stack,
                    Register::RBP => self.base?,
                    _ => return None,
                };
                return Some(Self { stack: from - instruction.memory_displacement64() as i64, ..self });
            }
            _ => {}
        }
        let base = if writes(information, instruction, Register::RBP) { None } else { self.base };
        if instruction.is_stack_instruction() {
            return Some(Self { stack: self.stack - i64::from(instruction.stack_pointer_increment()), base });
        }
        (!writes(information, instruction, Register::RSP)).then_some(Self { base, ..self })
    }
}
