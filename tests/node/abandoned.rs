// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A test that is killed leaves a cluster behind. The next one takes it away.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _, stdout},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{PATIENCE, poll_until};

use super::{
    cluster::{Cluster, Groups},
    shop,
};

/// Set for the test that is to be killed.
const TO_BE_KILLED: &str = "ONLOOKER_TEST_TO_BE_KILLED";

#[test]
fn what_a_killed_test_leaves_is_taken_away() -> Result<()> {
    if env::var_os(TO_BE_KILLED).is_some() {
        return wait_for_the_end();
    }
    let mut test = Command::new(env::current_exe()?);
    test.args(["--exact", "--nocapture", "abandoned::what_a_killed_test_leaves_is_taken_away"]).env(TO_BE_KILLED, "1");
    let mut test = test.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let said = BufReader::new(test.stdout.take().expect("it is piped"));
    let is_up = said.lines().map_while(Result::ok).any(|line| line == "up");
    test.kill()?;
    test.wait()?;
    ensure!(is_up, "the other test has no cluster");

    let owner = test.id().to_string();
    let left = Groups::of(&owner);
    // Those that are told of its death go by themselves; who has changed the user, or has another parent, stays.
    let names = poll_until("what is killed with the test has gone", PATIENCE, || {
        let processes = left.processes();
        let names = processes.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default());
        let names: Vec<String> = names.collect();
        (!names.iter().any(|name| name.trim() == "kubelet")).then_some(names)
    })?;
    ensure!(names.iter().any(|name| name.starts_with("containerd-shim")), "nothing was left: {names:?}");
    let folders = || -> Result<usize> {
        let names =
            fs::read_dir(env::temp_dir())?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        let names = names.collect::<Result<Vec<_>>>()?;
        Ok(names.iter().filter(|name| name.starts_with(&Groups::folder_prefix(&owner))).count())
    };
    ensure!(folders()? == 1, "its folder is not there");

    Groups::sweep(PATIENCE);
    ensure!(left.processes().is_empty(), "left: {:?}", left.processes());
    ensure!(folders()? == 0, "its folder is left");
    Ok(())
}

/// The test that is killed.
fn wait_for_the_end() -> Result<()> {
    let cluster = Cluster::start()?;
    shop::open(&cluster)?;
    println!("\nup");
    stdout().flush()?;
    std::io::stdin().lock().lines().next().context("it was to be killed")?.map(drop)?;
    Ok(())
}
