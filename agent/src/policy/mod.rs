// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Release: spans in, spans that may leave out: sampled in and redacted.
//!
//! Exporters accept only [`ReleasedSpan`], and only this module can build one.

use std::sync::Arc;

use crate::{enrich::Resource, spans::Span};

/// A span that may leave the machine.
#[derive(Clone, Debug)]
pub struct ReleasedSpan {
    span: Span,
    resource: Arc<Resource>,
}

impl ReleasedSpan {
    #[must_use]
    pub const fn span(&self) -> &Span {
        &self.span
    }

    #[must_use]
    pub const fn resource(&self) -> &Arc<Resource> {
        &self.resource
    }
}

/// For the tests of the exporters, which need spans that were released without caring by which policy.
#[cfg(test)]
pub(crate) fn released_for_tests(span: Span, resource: Arc<Resource>) -> ReleasedSpan {
    ReleasedSpan { span, resource }
}
