// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Export: released spans in; OTLP, JSON lines and waterfalls out.

pub mod json;
pub mod otlp;
mod outputs;
pub mod stdout;
pub mod terminal;

pub use outputs::Outputs;

/// The instrumentation scope of every span.
pub const SCOPE_NAME: &str = "onlooker";
pub const SCOPE_VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the semantic conventions that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
