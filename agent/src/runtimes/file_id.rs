// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which file it is, whatever its name, and through whichever overlay it is seen.
//!
//! The kernel probes the file that lies below an overlay. Containers of one image have overlays of their own over the same file:
//! probed through each of them, every call would be told once for each.

use std::{fs::File, io, os::unix::fs::MetadataExt as _};

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const OVERLAY: i64 = 0x794c_7630;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// 0 on an overlay: each of its mounts is a device.
    device: u64,
    inode: u64,
    /// On an overlay, when it was written and when it was changed, in seconds and nanoseconds. The copy that a container has made of
    /// an image's file, to change its owner, keeps the number and the first of them.
    times: Option<[(i64, i64); 2]>,
}

impl FileId {
    /// # Errors
    /// Where the system does not tell.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if rustix::fs::fstatfs(file)?.f_type != OVERLAY {
            return Ok(Self { device: metadata.dev(), inode: metadata.ino(), times: None });
        }
        let written = (metadata.mtime(), metadata.mtime_nsec());
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let id = Self { device: 0, inode: metadata.ino(), times: Some([written, changed]) };
        Ok(if metadata.nlink() == 0 { id.when_deleted() } else { id })
    }

    /// What it is once its last name is gone, which counts as a change.
    #[must_use]
    pub fn when_deleted(self) -> Self {
        Self { times: self.times.map(|[written, _]| [written; 2]), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_the_same_under_another_name_and_under_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, two, other] = ["one", "two", "other"].map(|name| folder.path().join(name));
        fs::write(&one, "a").expect("written");
        fs::write(&other, "a").expect("written");
        let file = File::open(&one).expect("there");
        let id = FileId::of(&file).expect("told");
        fs::hard_link(&one, &two).expect("linked");
        assert!(
            FileId::of(&File::open(&two).expect("there")).is_ok_and(|same| same.when_deleted() == id.when_deleted())
        );
        assert!(FileId::of(&File::open(&other).expect("there")).is_ok_and(|different| different != id));
        fs::remove_file(&one).expect("removed");
        fs::remove_file(&two).expect("removed");
        assert!(FileId::of(&file).is_ok_and(|gone| gone == id.when_deleted()));
    }
}
