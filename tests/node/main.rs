// SPDX-License-Identifier: Apache-2.0 OR MIT
//! In a real cluster of one node: Onlooker's own image, installed as a user would, beside workloads of each kind.
//!
//! `cargo xtask e2e cluster` runs it. Each test has a cluster of its own, which is up in about twenty seconds.

mod abandoned;
mod cluster;
mod crowd;
mod images;
mod install;
mod outages;
mod profiles;
mod removal;
mod shop;
mod update;
mod walk;
