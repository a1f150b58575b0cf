// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The initial file system of a guest: a list of files in, a `newc` archive out, as the kernel unpacks it.
//!
//! Written here because the format is a header of thirteen numbers and xtask leans on no crates; uncompressed, for the
//! guest would unpack it with an emulated processor.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A file of the guest.
#[derive(Clone, Debug)]
pub struct GuestFile {
    /// Absolute, in the guest.
    pub path: String,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    /// A copy of this file of the host, as a program.
    Program(PathBuf),
    /// Another name of this path.
    Link(String),
    Bytes(Vec<u8>),
}

impl GuestFile {
    /// A program of the host, at this path of the guest.
    pub fn program(path: impl Into<String>, host: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), content: Content::Program(host.into()) }
    }

    pub fn link(path: impl Into<String>, to: impl Into<String>) -> Self {
        Self { path: path.into(), content: Content::Link(to.into()) }
    }

    pub fn bytes(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Content::Bytes(content.into()) }
    }
}

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const PLAIN: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// Writes the archive: the files, and the folders that they lie in.
pub fn write(place: &Path, files: &[GuestFile]) -> Result<()> {
    let file = File::create(place).with_context(|| format!("cannot write {}", place.display()))?;
    let mut archive = Archive { out: BufWriter::new(file), next_inode: 1 };
    let mut folders = BTreeSet::new();
    for file in files {
        let path = Path::new(file.path.trim_start_matches('/'));
        // From the root down, for the kernel makes no parents; the last of the ancestors is the root itself.
        folders.extend(path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).map(PathBuf::from));
    }
    for folder in folders {
        archive.entry(&folder.to_string_lossy(), FOLDER, &[])?;
    }
    for GuestFile { path, content } in files {
        let name = path.trim_start_matches('/');
        match content {
            Content::Link(to) => archive.entry(name, LINK, to.as_bytes())?,
            Content::Bytes(bytes) => archive.entry(name, PLAIN, bytes)?,
            Content::Program(host) => {
                let bytes = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
                archive.entry(name, PROGRAM, &bytes)?;
            }
        }
    }
    archive.entry("TRAILER!!!", 0, &[])?;
    archive.out.flush()?;
    Ok(())
}

struct Archive<W> {
    out: W,
    next_inode: u32,
}

impl<W: Write> Archive<W> {
    /// Documentation/driver-api/early-userspace/buffer-format.rst: a magic number and thirteen numbers of eight hexadecimal
    /// digits, the name with a zero behind it, the content; the last two padded to four bytes.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let inode = self.next_inode;
        self.next_inode += 1;
        let size = u32::try_from(content.len()).context("a file of the guest may have 4 GiB")?;
        let name_size = u32::try_from(name.len() + 1)?;
        let links = 1;
        write!(self.out, "070701")?;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        for field in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.pad(110 + name.len(), 1)?;
        self.out.write_all(content)?;
        self.pad(content.len(), 0)
    }

    /// Zeros behind `length` bytes, at least this many, up to a multiple of four.
    fn pad(&mut self, length: usize, least: usize) -> Result<()> {
        let zeros = (length + least).next_multiple_of(4) - length;
        Ok(self.out.write_all(&[0; 4][..zeros])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_parents_come_first() -> Result<()> {
        let place = std::env::temp_dir().join(format!("onlooker-initramfs-{}", std::process::id()));
        write(&place, &[GuestFile::bytes("/a/b/c", "12345")])?;
        let archive = fs::read(&place)?;
        fs::remove_file(&place)?;
        let mut names = Vec::new();
        let mut rest = archive.as_slice();
        while let Some((header, behind)) = rest.split_at_checked(110) {
            let header = std::str::from_utf8(header)?;
            assert_eq!(&header[..6], "070701");
            let field = |index: usize| usize::from_str_radix(&header[6 + index * 8..14 + index * 8], 16);
            let (size, name_size) = (field(6)?, field(11)?);
            let content = (110 + name_size).next_multiple_of(4) - 110;
            let name = std::str::from_utf8(&behind[..name_size - 1])?.to_owned();
            names.push((name, behind[content..content + size].to_vec()));
            rest = &behind[content + size.next_multiple_of(4)..];
        }
        let expected: [(&str, &[u8]); 4] = [("a", b""), ("a/b", b""), ("a/b/c", b"12345"), ("TRAILER!!!", b"")];
        let expected: Vec<_> = expected.map(|(name, content)| (name.to_owned(), content.to_vec())).into();
        assert_eq!(names, expected);
        Ok(())
    }
}
