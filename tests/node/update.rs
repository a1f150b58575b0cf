// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A rolling update, under load: what is lost is what was asked in the seconds between the old pod and the new one.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::poll_until;

use super::{
    cluster::Cluster,
    install::install_manifests,
    shop::{self, ARRIVAL, Received},
};

/// Of a pod's end and its successor's start, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(60);

#[test]
fn a_rolling_update_loses_the_seconds_in_between() -> Result<()> {
    let cluster = Cluster::start()?;
    let mut received = install_manifests(&cluster, "base")?;
    shop::open(&cluster)?;
    shop::visit(&cluster, &mut received, "/before")?;
    let address = shop::address(&cluster, "counter")?;
    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let times = thread::scope(|scope| -> Result<Vec<Instant>> {
        let load = scope.spawn(|| -> Result<Vec<Instant>> {
            let mut times = Vec::new();
            while !stop.load(Ordering::Acquire) {
                times.push(Instant::now());
                cluster.ask(&address, &format!("/load/{}", times.len() - 1))?;
                asked.store(times.len() as u32, Ordering::Release);
            }
            Ok(times)
        });
        let updated = update(&cluster, &mut received, &asked);
        stop.store(true, Ordering::Release);
        let times = load.join().expect("nothing in it panics");
        updated.and(times)
    })?;

    let last = format!("/load/{}", times.len() - 1);
    received.wait(&last, "go", ARRIVAL).with_context(|| cluster.words())?;
    let seen: BTreeSet<usize> = numbers(&received).collect();
    let lost: Vec<usize> = (0..times.len()).filter(|number| !seen.contains(number)).collect();
    let (first, last) = (*lost.first().context("none was lost: was it updated?")?, *lost.last().expect("there is one"));
    let between = times[last] - times[first];
    println!("a rolling update: {} of {} requests lost, all within {between:.1?}", lost.len(), times.len());
    ensure!(lost.len() == last - first + 1, "a gap that is not whole: {lost:?}");
    ensure!(between < LONGEST, "a gap of {between:?}");
    Ok(())
}

/// Between two spans that arrive.
fn update(cluster: &Cluster, received: &mut Received, asked: &AtomicU32) -> Result<()> {
    let seen_from = |received: &mut Received, number: u32| {
        poll_until("spans of the load", ARRIVAL, || {
            received.look().ok()?;
            numbers(received).any(|seen| seen >= number as usize).then_some(())
        })
    };
    seen_from(received, 20)?;
    cluster.kubectl(&["-n", "onlooker", "rollout", "restart", "daemonset/onlooker"])?;
    cluster.wait_rollout("onlooker", "daemonset/onlooker")?;
    seen_from(received, asked.load(Ordering::Acquire) + 20)
}

/// Of the load's requests whose spans are there.
fn numbers(received: &Received) -> impl Iterator<Item = usize> {
    received.spans.iter().filter_map(|span| span.path()?.strip_prefix("/load/")?.parse().ok())
}
