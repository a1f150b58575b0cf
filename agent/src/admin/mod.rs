// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The admin server: liveness, readiness and metrics over HTTP.
//!
//! In: the pipeline's health, the ledger and gauges. Out: `/livez`, `/readyz` and `/metrics`. These three are open to
//! everyone who reaches the address and show no traces, so that no Host and no token is checked.

mod gauges;
mod health;
mod server;

pub use gauges::{Gauge, process_gauges};
pub use health::{Health, Readiness};
pub use server::{AdminError, Server};
