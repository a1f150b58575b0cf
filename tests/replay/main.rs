// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings of real servers and clients through the whole pipeline: no root, no kernel, and the same spans each time.
//!
//! In: `recordings/NAME.recording`, made by `cargo xtask record-corpus`. Out: what `recordings/NAME.expected` says, a line
//! a span. `UPDATE_EXPECTED=1` writes these files anew: read each change against what the scenario does.

mod pipeline;
mod summary;

use std::{env, fs, path::PathBuf};

use onlooker::capture::Recording;

use pipeline::{count_spans, replay};

/// The fewest recordings that the corpus may shrink to.
const CORPUS: usize = 20;

/// Cuts at positions that are no frame's bound, for each recording. More: a slower test. Fewer: a rarer find.
const RANDOM_CUTS: usize = 200;

/// The recordings that one test walks through, so that the slow ones share the machine's processors.
fn recordings() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let files = fs::read_dir(&folder).expect("the corpus is part of the checkout");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "recording"));
    paths.sort();
    assert!(paths.len() >= CORPUS, "{} recordings in {}", paths.len(), folder.display());
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("readable"))).collect()
}

fn open(bytes: &[u8]) -> Recording {
    Recording::from_bytes(bytes.to_vec()).expect("the magic line is whole")
}

#[test]
fn recordings_give_the_spans_that_they_gave() {
    let mut differing = Vec::new();
    for (path, bytes) in recordings() {
        let (spans, ledger) = replay(&open(&bytes));
        ledger.assert_conserved("stdout");
        assert_eq!(spans.len() as u64, ledger.total("onlooker_exchanges_total"), "{}", path.display());
        let text = summary::of(&spans, &ledger);
        let expected_path = path.with_extension("expected");
        if env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected_path, &text).expect("the checkout can be written");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if text != expected {
            differing.push(format!("{}\n--- expected\n{expected}--- now\n{text}", path.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_recording_that_was_cut_off_gives_no_span_that_the_whole_one_does_not() {
    for (path, bytes) in recordings() {
        let whole = count_spans(&open(&bytes));
        let head = 1 + bytes.iter().position(|byte| *byte == b'\n').expect("the magic line");
        let mut random = fastrand::Rng::with_seed(7);
        let cuts = frame_bounds(&bytes, head).into_iter();
        for cut in cuts.chain((0..RANDOM_CUTS).map(|_| random.usize(head..bytes.len()))) {
            let spans = count_spans(&open(&bytes[..cut]));
            assert!(spans <= whole, "{} cut at {cut}: {spans} spans, {whole} in the whole", path.display());
        }
    }
}

/// A frame is its kind, the length of its body in four bytes, and the body.
fn frame_bounds(bytes: &[u8], head: usize) -> Vec<usize> {
    let mut bounds = vec![head];
    let mut at = head;
    while let Some(length) = bytes[at..].get(1..).and_then(|rest| rest.first_chunk::<4>()) {
        at += 5 + u32::from_le_bytes(*length) as usize;
        bounds.push(at);
    }
    bounds
}

/// What every machine that records has in common may be in a recording; what is its own may not.
#[test]
fn recordings_name_no_machine() {
    for (path, bytes) in recordings() {
        for folder in ["/root/", "/home/", "/work/", "/tmp/corpus-"] {
            let is_named = bytes.windows(folder.len()).any(|window| window == folder.as_bytes());
            assert!(!is_named, "{} names {folder}", path.display());
        }
    }
}
