// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which of the files that hold something nobody has mapped any more. A probe keeps its file: of an image that was removed the
//! disk would keep the programs, and on a node where many come and go there would be no room for probes at last.
//!
//! In: files, as processes have them mapped; at times, the mappings of all processes. Out: files that were in use and were not
//! found in use twice running.

use std::io;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::runtimes::{file_id::FileId, mappings};

#[derive(Default)]
pub struct Usage {
    /// By the number that mappings say, which files on several devices may share.
    files: FxHashMap<u64, Vec<FileId>>,
    /// Not in use when it was looked last.
    unused: FxHashSet<FileId>,
}

/// A file that is out of use.
#[derive(Debug, PartialEq, Eq)]
pub struct Unused {
    pub inode: u64,
    pub file: FileId,
}

impl Usage {
    pub fn handle_mapped(&mut self, inode: u64, file: FileId) {
        let files = self.files.entry(inode).or_default();
        if !files.contains(&file) {
            files.push(file);
        }
    }

    /// Whether there are files that will be out of use if they are not in use the next time.
    pub fn is_waiting(&self) -> bool {
        !self.unused.is_empty()
    }

    /// Looks at all processes. What is given is forgotten.
    ///
    /// # Errors
    /// Where there is no list of processes.
    pub fn look(&mut self) -> io::Result<Vec<Unused>> {
        let used = mappings::inodes_of_all()?;
        let (mut gone, mut unused) = (Vec::new(), FxHashSet::default());
        self.files.retain(|inode, files| {
            if !used.contains(inode) {
                files.retain(|&file| {
                    let is_gone = self.unused.contains(&file);
                    if is_gone {
                        gone.push(Unused { inode: *inode, file });
                    } else {
                        unused.insert(file);
                    }
                    !is_gone
                });
            }
            !files.is_empty()
        });
        self.unused = unused;
        Ok(gone)
    }
}
