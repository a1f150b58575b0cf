// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a span that depends on the protocol.

use std::{borrow::Cow, sync::Arc};

use super::{Attribute, Standing, Status};

#[derive(Clone, Debug)]
pub struct Description {
    pub name: Cow<'static, str>,
    /// What it has in common with others.
    pub standing: Arc<Standing>,
    pub attributes: Vec<Attribute>,
    pub status: Status,
}

impl Description {
    /// The same for one that will be told again as it is: all attributes are standing ones.
    #[must_use]
    pub fn in_one(self) -> Self {
        let attributes = self.standing.attributes.iter().cloned().chain(self.attributes).collect();
        let standing = Arc::new(Standing::new(attributes, self.standing.is_direct));
        Self { standing, attributes: Vec::new(), ..self }
    }

    /// One that is all in one, once more.
    #[must_use]
    pub fn again(&self) -> Self {
        debug_assert!(self.attributes.is_empty(), "all in one");
        let (name, standing) = (self.name.clone(), Arc::clone(&self.standing));
        Self { name, standing, attributes: Vec::new(), status: self.status }
    }
}
