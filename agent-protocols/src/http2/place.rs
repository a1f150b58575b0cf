// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A place in a direction: so many bytes behind the start of the piece with this mark.

#[derive(Clone, Copy, Debug)]
pub(super) struct Place<M> {
    pub(super) mark: M,
    pub(super) offset: u32,
}

impl<M: Copy> Place<M> {
    pub(super) fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX)), ..self }
    }
}
