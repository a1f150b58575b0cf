// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The admin server: liveness, readiness and metrics over HTTP.
