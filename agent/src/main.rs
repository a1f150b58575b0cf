// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The command line: reads the configuration, runs the command, turns failures into an exit status and one sentence.

fn main() {}
