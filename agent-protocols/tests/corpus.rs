// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every corpus file of the fuzz targets, through the same function, with the stable toolchain.

#[path = "../fuzz/entry.rs"]
mod entry;

use std::{fs, path::Path};

fn run(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let files = fs::read_dir(&folder).expect("the corpus is kept beside the code");
    let mut count = 0;
    for file in files {
        let path = file.expect("a folder that can be read").path();
        let data = fs::read(&path).expect("a file that can be read");
        println!("{}", path.display());
        target(&data);
        // What a fuzzer has not come across yet: the file ends anywhere.
        for length in 0..data.len() {
            target(&data[..length]);
        }
        count += 1;
    }
    assert!(count > 4, "{count} files in {}", folder.display());
}

#[test]
fn http1() {
    run("http1", entry::http1);
}

#[test]
fn recognition() {
    run("recognise", entry::recognition);
}

#[test]
fn http2() {
    run("http2", entry::http2);
}

#[test]
fn hpack() {
    run("hpack", entry::hpack);
}
