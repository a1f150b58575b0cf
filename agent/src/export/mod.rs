// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Export: released spans in; OTLP, JSON lines and waterfalls out.

pub mod otlp;
