// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Many streams on one session: HTTP/2 and gRPC, whose frames the library cuts into records as it likes.

use std::process::Command;

use anyhow::Result;

use super::{
    build_go,
    program::{Program, Workshop},
    watch,
};

/// Tasks move between threads, and what rustls keeps of a connection moves in memory.
#[test]
fn rustls_in_a_program_with_symbols() -> Result<()> {
    for arguments in [["1", "50", "4"], ["2", "100", "3"]] {
        let workshop = Workshop::new()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_tls-rustls"));
        command.args(arguments);
        let told = watch(&mut Program::start(command, &workshop)?)?;
        told.assert_whole();
    }
    Ok(())
}

/// A hundred calls at a time, by programs of two versions of Go.
#[test]
fn grpc_in_go() -> Result<()> {
    for version in ["local", "go1.21.13"] {
        let workshop = Workshop::new()?;
        let Some(binary) = build_go(&workshop, "grpc", version, &[])? else { continue };
        let mut command = Command::new(binary);
        command.args(["100", "3"]);
        let told = watch(&mut Program::start(command, &workshop)?)?;
        told.assert_whole();
    }
    Ok(())
}
