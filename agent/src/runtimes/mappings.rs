// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The files whose code a process has mapped.
//!
//! In: `/proc/PID/maps`. Out: each file once, by device and inode, and a way to open that very file, whatever has become of
//! its name and in whichever mount namespace it lies. Does not: read files.

use std::{fs, fs::File, io, path::Path};

use rustc_hash::FxHashSet;

/// A mapped file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// As `maps` has them: device, inode and path, the first two of which say nothing on some file systems without the third.
    pub identity: String,
    pub inode: u64,
    /// The last part of its path, without the mark of a file that is gone.
    pub name: String,
    path: String,
    /// The addresses, by which `map_files` names it.
    range: String,
    pub is_executable: bool,
}

/// What `maps` says behind the path of a file that was unlinked or replaced.
const GONE: &str = " (deleted)";

/// The process's own program and the shared files whose code it has mapped.
pub fn of(tgid: u32) -> Vec<Mapping> {
    let folder = Path::new("/proc").join(tgid.to_string());
    let Some(maps) = maps(&folder) else { return Vec::new() };
    let program = fs::read_link(folder.join("exe")).ok();
    let program = program.as_deref().and_then(Path::to_str).unwrap_or_default();
    let mut found: Vec<Mapping> = Vec::new();
    for mapping in maps.lines().filter_map(|line| parse(line, program)) {
        if !found.iter().any(|known| known.identity == mapping.identity) {
            found.push(mapping);
        }
    }
    found
}

/// Inodes of all code of files that any process has mapped. Who does not let others see its mappings was not looked into either.
///
/// # Errors
/// Where there is no list of processes.
pub fn inodes_of_all() -> io::Result<FxHashSet<u64>> {
    let mut inodes = FxHashSet::default();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        let is_process = folder.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        if let Some(maps) = is_process.then(|| maps(&folder)).flatten() {
            inodes.extend(maps.lines().filter_map(inode_of_code));
        }
    }
    Ok(inodes)
}

/// Paths may hold any bytes; files are opened by the addresses that they are mapped to.
fn maps(folder: &Path) -> Option<String> {
    fs::read(folder.join("maps")).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn inode_of_code(line: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let permissions = words.nth(1)?;
    words.nth(2)?.parse().ok().filter(|inode| *inode != 0 && permissions.contains('x'))
}

/// `start-end perms offset major:minor inode path` (proc_pid_maps(5)).
fn parse(line: &str, program: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ')?;
        rest = after.trim_start();
        Some(word)
    };
    let (range, permissions, _offset, device, inode) = (word()?, word()?, word()?, word()?, word()?);
    if !permissions.contains('x') || inode == "0" || !rest.starts_with('/') {
        return None;
    }
    let name = rest.strip_suffix(GONE).unwrap_or(rest).rsplit('/').next()?;
    Some(Mapping {
        identity: format!("{device} {inode} {rest}"),
        inode: inode.parse().ok()?,
        name: name.to_owned(),
        path: rest.to_owned(),
        range: range.to_owned(),
        is_executable: rest == program,
    })
}

/// Of a mapping's identity.
pub fn inode_in(identity: &str) -> Option<u64> {
    identity.split(' ').nth(1)?.parse().ok()
}

impl Mapping {
    /// Opens the file that is mapped. `map_files` needs `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE`; without them the path
    /// is taken, as the process sees it.
    ///
    /// # Errors
    /// Where neither can be opened.
    pub fn open(&self, tgid: u32) -> io::Result<File> {
        let folder = Path::new("/proc").join(tgid.to_string());
        if self.is_executable {
            return File::open(folder.join("exe"));
        }
        File::open(folder.join("map_files").join(&self.range))
            .or_else(|_| File::open(folder.join("root").join(self.path.trim_start_matches('/'))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_counts() {
        let program = "/usr/bin/a b";
        let line = "55d0-55d1 r-xp 00001000 08:01 131 /usr/bin/a b";
        let found = parse(line, program).expect("it is code of a file");
        assert_eq!((found.name.as_str(), found.is_executable), ("a b", true));
        let gone = parse("7f-80 r-xp 00000000 00:2f 9 /lib/libssl.so.3 (deleted)", program).expect("as above");
        assert_eq!((gone.name.as_str(), gone.is_executable), ("libssl.so.3", false));
        for other in ["7f-80 r--p 0 08:01 9 /lib/a.so", "7f-80 r-xp 0 00:00 0 [vdso]", "7f-80 rwxp 0 00:00 0 ", ""] {
            assert_eq!(parse(other, program), None);
        }
    }

    #[test]
    fn this_program_has_itself_mapped_and_can_be_opened() {
        let own = std::process::id();
        let program = of(own).into_iter().find(|mapping| mapping.is_executable).expect("it runs");
        assert!(program.open(own).is_ok());
    }

    #[test]
    fn only_code_of_files_has_an_inode() {
        for (line, expected) in [
            ("7f-80 r-xp 00001000 08:01 131 /usr/bin/a b", Some(131)),
            ("7f-80 r--p 00001000 08:01 131 /usr/bin/a b", None),
            ("7f-80 r-xp 00000000 00:00 0                  [vdso]", None),
            ("", None),
        ] {
            assert_eq!(inode_of_code(line), expected, "{line}");
        }
    }
}
