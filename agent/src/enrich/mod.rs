// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Enrich: spans in, the same spans with the resource of their process out.

mod resource;

pub use resource::Resource;
