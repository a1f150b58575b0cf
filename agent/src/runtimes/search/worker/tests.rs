// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that come and go with the processes that have them mapped.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};

use super::*;

/// A process that has a library mapped and does nothing. Dropped, it is killed.
struct Sleeper(Child);

impl Sleeper {
    fn start(library: &Path) -> Self {
        let child = Command::new("sleep").arg("600").env("LD_PRELOAD", library).spawn().expect("everybody has it");
        let sleeper = Self(child);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !sleeper.mappings().iter().any(|mapping| library.ends_with(&mapping.name)) {
            assert!(Instant::now() < deadline, "the library was not loaded: {:?}", sleeper.mappings());
            std::thread::yield_now();
        }
        sleeper
    }

    fn mappings(&self) -> Vec<Mapping> {
        mappings::of(self.0.id())
    }

    fn found_by(&self, worker: &mut Worker<'_>) -> Vec<FileId> {
        worker.process(self.0.id(), &self.mappings()).into_iter().map(|found| found.id).collect()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_file_that_nobody_has_mapped_is_out_of_use_and_found_again() {
    let folders = FOLDERS.iter().map(|folder| PathBuf::from(folder).join("libssl.so.3"));
    let Some(original) = folders.into_iter().find(|path| path.exists()) else {
        eprintln!("skipped: there is no libssl.so.3 here");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("libssl.so.3");
    fs::copy(original, &library).expect("copied");
    let catalogue = Catalogue::new();
    let mut worker = Worker::new(&catalogue);

    let (one, two) = (Sleeper::start(&library), Sleeper::start(&library));
    let found = one.found_by(&mut worker);
    assert_eq!(found.len(), 1);
    assert_eq!(two.found_by(&mut worker), [], "it is known");
    drop(one);
    for _ in 0..3 {
        assert_eq!(worker.unused(), [], "the other one has it");
    }
    drop(two);
    assert_eq!(worker.unused(), [], "somebody may come back soon");
    assert!(worker.usage.is_waiting());
    assert_eq!(worker.unused(), found);
    assert!(!worker.usage.is_waiting());
    assert_eq!(Sleeper::start(&library).found_by(&mut worker), found);
}
