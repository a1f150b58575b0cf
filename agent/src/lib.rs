// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Onlooker's daemon. The modules stand in the order of the data path: what one gives, the next one takes.
//!
//! `docs/ARCHITECTURE.md` follows one request through them.

#![deny(unsafe_code)]

pub mod admin;
pub mod capture;
pub mod config;
pub mod connections;
pub mod doctor;
pub mod enrich;
pub mod exchanges;
pub mod export;
pub mod ledger;
mod memory;
pub mod moment;
pub mod pipeline;
pub mod policy;
mod printing;
pub mod replay;
pub mod run;
pub mod runtimes;
mod services;
mod situation;
pub mod spans;
pub mod targets;
