// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first page of docs/KUBERNETES.md, line by line: what a new user types leads to traces.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::poll_until;

use super::{
    cluster::Cluster,
    shop::{self, ARRIVAL},
};

/// The blocks of commands in the section of this heading.
fn blocks(heading: &str) -> Result<Vec<Vec<String>>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs/KUBERNETES.md");
    let text = fs::read_to_string(page)?;
    let (_, section) = text.split_once(&format!("## {heading}\n")).context("the page has the section")?;
    let section = section.split("\n## ").next().unwrap_or(section);
    let block = |text: &str| Some(text.split_once("```")?.0.lines().map(str::to_owned).collect());
    Ok(section.split("```sh\n").skip(1).filter_map(block).collect())
}

/// Runs the lines; the image is made and taken in already. Gives what the last one printed.
fn follow(cluster: &Cluster, lines: &[String]) -> Result<String> {
    let mut said = String::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["cargo", "xtask", "image"] | ["ctr", .., "target/onlooker-image.tar"] => {}
            ["kubectl", ref arguments @ ..] => {
                let checkout = |word: &&str| match word.strip_prefix("deploy/") {
                    Some(name) => super::install::deployed(name),
                    None => (*word).to_owned(),
                };
                let arguments: Vec<String> = arguments.iter().map(checkout).collect();
                said = cluster.kubectl(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
            }
            _ => anyhow::bail!("nobody has tried `{line}`"),
        }
    }
    Ok(said)
}

#[test]
fn the_five_minutes_of_the_page_end_in_traces() -> Result<()> {
    let [first, second] = &blocks("From nothing to traces in five minutes")?[..] else {
        anyhow::bail!("the section has two blocks")
    };
    let cluster = Cluster::start()?;
    shop::open(&cluster)?;
    follow(&cluster, first).with_context(|| cluster.words())?;
    cluster.ask(&shop::address(&cluster, "front")?, "/walked")?;
    let look = first.last().context("it ends with a look at the log")?;
    poll_until("a waterfall of the request", ARRIVAL, || {
        let log = follow(&cluster, std::slice::from_ref(look)).ok()?;
        // Both pods by their services, one below the other.
        (log.contains("GET") && log.contains("storefront") && log.contains("store")).then_some(())
    })
    .with_context(|| cluster.words())?;

    let mut received = shop::start_collector(&cluster)?;
    follow(&cluster, second).with_context(|| cluster.words())?;
    shop::visit(&cluster, &mut received, "/sent")?;
    let printed = cluster.kubectl(&["-n", "onlooker", "logs", "daemonset/onlooker"])?;
    ensure!(!printed.contains("storefront"), "it prints on:\n{printed}");
    Ok(())
}
