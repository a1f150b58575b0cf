// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of a span that depends on the protocol.

use std::{borrow::Cow, sync::Arc};

#[cfg(test)]
use super::span::all_attributes;
use super::{Attribute, Standing, Status};

#[derive(Clone, Debug)]
pub struct Description {
    pub name: Cow<'static, str>,
    /// What it has in common with others.
    pub standing: Arc<Standing>,
    /// The connection's own, for the keys that `standing` has for it; else nobody reads it.
    pub client_port: u16,
    pub attributes: Vec<Attribute>,
    pub status: Status,
}

impl Description {
    /// The same for one that will be told again as it is, but for the client's port: all attributes are standing ones.
    #[must_use]
    pub fn in_one(self) -> Self {
        let attributes = self.standing.attributes.iter().cloned().chain(self.attributes).collect();
        let standing = Arc::new(Standing::new(attributes, self.standing.client_port_keys));
        Self { standing, attributes: Vec::new(), ..self }
    }

    /// One that is all in one, once more.
    #[must_use]
    pub fn again(&self, client_port: u16) -> Self {
        debug_assert!(self.attributes.is_empty(), "all in one");
        let (name, standing) = (self.name.clone(), Arc::clone(&self.standing));
        Self { name, standing, client_port, attributes: Vec::new(), status: self.status }
    }

    /// As the span will have them.
    #[cfg(test)]
    pub fn all_attributes(&self) -> Vec<Attribute> {
        let (standing, own) = (Some(&*self.standing), &self.attributes);
        all_attributes(standing, self.client_port, own).map(Cow::into_owned).collect()
    }
}
