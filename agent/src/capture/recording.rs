// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Recordings: the kernel's records on disk, with what else is needed to run them through the pipeline again.
//!
//! In: records and facts while watching. Out: the same, in the same order, on a machine with no kernel programs and no
//! root. A recording holds payloads as they were captured, credentials included: its file is readable by its owner only.
//! Format: the magic line, then frames of a kind (one byte), a length (four bytes, little endian) and that many bytes.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::moment::{KernelTime, WallTime};

/// Records are in the machine's byte order; the magic line says which.
const MAGIC: &[u8] =
    if cfg!(target_endian = "little") { b"onlooker recording 1 little\n" } else { b"onlooker recording 1 big\n" };

const KIND_RECORD: u8 = 1;
const KIND_FACTS: u8 = 2;
const KIND_CLOCK: u8 = 3;

/// A frame of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// As the kernel wrote it.
    Record(&'a [u8]),
    /// What was known of a process, as JSON.
    Facts(&'a [u8]),
    /// The two clocks at one instant.
    Clock { kernel: KernelTime, wall: WallTime },
}

#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("cannot write {path}: {source}")]
    Create { path: String, source: io::Error },
    #[error("cannot write the recording: {source}")]
    Write { source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is no recording of Onlooker, or one of another version or byte order")]
    NotARecording { path: String },
}

/// Writes a recording.
pub struct Recorder<W: Write> {
    file: W,
}

impl Recorder<BufWriter<std::fs::File>> {
    /// # Errors
    /// Where the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::Create { path: path.display().to_string(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
        Self::new(BufWriter::new(file))
    }
}

impl<W: Write> Recorder<W> {
    /// # Errors
    /// Where nothing can be written.
    pub fn new(mut file: W) -> Result<Self, RecordingError> {
        file.write_all(MAGIC).map_err(|source| RecordingError::Write { source })?;
        Ok(Self { file })
    }

    /// # Errors
    /// Where nothing more can be written.
    pub fn write(&mut self, frame: Frame<'_>) -> Result<(), RecordingError> {
        let mut clock = [0; 16];
        let (kind, bytes) = match frame {
            Frame::Record(bytes) => (KIND_RECORD, bytes),
            Frame::Facts(bytes) => (KIND_FACTS, bytes),
            Frame::Clock { kernel, wall } => {
                clock[..8].copy_from_slice(&kernel.0.to_le_bytes());
                clock[8..].copy_from_slice(&wall.0.to_le_bytes());
                (KIND_CLOCK, &clock[..])
            }
        };
        // Records are bounded by the ring, facts by what a process may say of itself.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.file
            .write_all(&[kind])
            .and_then(|()| self.file.write_all(&length.to_le_bytes()))
            .and_then(|()| self.file.write_all(&bytes[..length as usize]))
            .map_err(|source| RecordingError::Write { source })
    }

    /// # Errors
    /// Where what was buffered cannot be written.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        self.file.flush().map_err(|source| RecordingError::Write { source })
    }
}

/// A recording, read whole.
pub struct Recording {
    bytes: Vec<u8>,
}

impl Recording {
    /// # Errors
    /// Where the file cannot be read, or is something else.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let path_text = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| RecordingError::Read { path: path_text(), source })?;
        Self::from_bytes(bytes).ok_or_else(|| RecordingError::NotARecording { path: path_text() })
    }

    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        bytes.starts_with(MAGIC).then_some(Self { bytes })
    }

    /// The frames in order. One that was cut off, as by a kill, ends them; a kind that is not known is passed over.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = &self.bytes[MAGIC.len()..];
        std::iter::from_fn(move || {
            loop {
                let (&kind, after_kind) = rest.split_first()?;
                let (length, after_length) = after_kind.split_first_chunk::<4>()?;
                let (bytes, after) = after_length.split_at_checked(u32::from_le_bytes(*length) as usize)?;
                rest = after;
                match kind {
                    KIND_RECORD => return Some(Frame::Record(bytes)),
                    KIND_FACTS => return Some(Frame::Facts(bytes)),
                    KIND_CLOCK => {
                        if let Some(clock) = clock(bytes) {
                            return Some(clock);
                        }
                    }
                    _ => {}
                }
            }
        })
    }
}

fn clock(bytes: &[u8]) -> Option<Frame<'static>> {
    let (kernel, wall) = bytes.split_first_chunk::<8>()?;
    Some(Frame::Clock {
        kernel: KernelTime(u64::from_le_bytes(*kernel)),
        wall: WallTime(u64::from_le_bytes(wall.try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [Frame<'static>; 3] = [
        Frame::Clock { kernel: KernelTime(5), wall: WallTime(7) },
        Frame::Facts(b"{}"),
        Frame::Record(b"bytes of the kernel"),
    ];

    fn recorded() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut recorder = Recorder::new(&mut bytes).expect("memory");
        for frame in FRAMES {
            recorder.write(frame).expect("memory");
        }
        recorder.finish().expect("memory");
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let recording = Recording::from_bytes(recorded()).expect("a recording");
        assert_eq!(recording.frames().collect::<Vec<_>>(), FRAMES);
    }

    #[test]
    fn a_recording_that_was_cut_off_keeps_its_whole_frames() {
        let bytes = recorded();
        for length in MAGIC.len()..bytes.len() {
            let recording = Recording::from_bytes(bytes[..length].to_vec()).expect("a recording");
            assert!(recording.frames().eq(FRAMES.into_iter().take(recording.frames().count())));
        }
        assert!(Recording::from_bytes(b"something else".to_vec()).is_none());
    }
}
