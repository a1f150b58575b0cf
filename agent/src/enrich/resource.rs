// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a span is told about the process it belongs to.

use crate::spans::{Attribute, Value};

/// The resource of one service instance; shared by all its spans, so that exporters group by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Unique while the daemon runs, so that exporters need not compare attributes.
    pub id: u64,
    pub attributes: Vec<Attribute>,
}

impl Resource {
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| match &attribute.value {
            Value::Text(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// `service.name`, which every resource has.
    #[must_use]
    pub fn service_name(&self) -> &str {
        self.text("service.name").unwrap_or("unknown_service")
    }
}
