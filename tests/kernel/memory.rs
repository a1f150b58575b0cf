// SPDX-License-Identifier: Apache-2.0 OR MIT
//! No byte that was not moved reaches a record: markers lie where a wrong length would read, and are looked for in a
//! recording of everything that the kernel programs said.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process,
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Onlooker, PATIENCE};

use crate::sockets::{Receive, Send, exchange, get, header, moved, post_head, response, tcp_pair};

const MARKER_BYTES: usize = 16;

/// Sixteen bytes that are nowhere else.
fn marker() -> Result<[u8; MARKER_BYTES]> {
    let mut marker = [0; MARKER_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut marker)?;
    Ok(marker)
}

fn is_in(recording: &[u8], marker: &[u8]) -> bool {
    recording.windows(marker.len()).any(|window| window == marker)
}

/// Fills a buffer with copies of the marker.
fn marked(length: usize, marker: &[u8]) -> Vec<u8> {
    marker.iter().copied().cycle().take(length).collect()
}

/// The bytes in the middle of memory that holds the marker on both sides: the memory, and where they are in it.
fn surrounded(bytes: &[u8], marker: &[u8]) -> (Vec<u8>, std::ops::Range<usize>) {
    const AROUND: usize = 64 * MARKER_BYTES;
    let mut memory = marked(AROUND, marker);
    memory.extend_from_slice(bytes);
    memory.extend(marked(AROUND, marker));
    (memory, AROUND..AROUND + bytes.len())
}

#[test]
fn only_what_was_moved_is_recorded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    let name = file.to_str().context("temporary folders have plain names")?;
    let onlooker = Onlooker::start(&["record", name, "--pid", &process::id().to_string()], &[])?;
    let (sent, around, behind, discarded, broken) = (marker()?, marker()?, marker()?, marker()?, marker()?);

    move_between_markers(&sent, &around, &behind)?;
    discard_into(&discarded)?;
    read_less_than_the_pieces(&behind)?;
    write_across_a_hole(&broken)?;

    let [client, server] = tcp_pair()?;
    exchange(&client, &server, "/memory/last")?;
    onlooker.wait_ledger(|ledger| ledger.total("onlooker_spans_total") >= 2, PATIENCE)?;
    let finished = onlooker.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    let recording = fs::read(Path::new(name))?;
    assert!(is_in(&recording, b"/memory/last"), "the recording reaches to the end");
    assert!(is_in(&recording, &sent), "what was sent is there: the search can find");
    for (what, marker) in
        [("around what was sent", &around), ("behind what came", &behind), ("in thrown away bytes' place", &discarded)]
    {
        assert!(!is_in(&recording, marker), "memory {what} was recorded");
    }
    assert!(!is_in(&recording, &broken), "what a call could not move was recorded");
    Ok(())
}

/// Every pair of calls, with markers behind each received byte and around each sent one.
fn move_between_markers(sent: &[u8], around: &[u8], behind: &[u8]) -> Result<()> {
    for receive in Receive::ALL {
        for send in Send::ALL {
            let [client, server] = tcp_pair()?;
            let request = [post_head("/memory/pairs", MARKER_BYTES), sent.to_vec()].concat();
            for (from, to, bytes) in [(&client, &server, request), (&server, &client, response(200, 100))] {
                let (memory, place) = surrounded(&bytes, around);
                ensure!(send.call(from, &memory[place])? == bytes.len(), "a short write");
                let mut buffer = marked(8192, behind);
                ensure!(receive.call(to, &mut buffer, 0)? == bytes.len(), "a short read");
                ensure!(buffer[..bytes.len()] == bytes, "other bytes came");
            }
        }
    }
    Ok(())
}

/// TCP throws the bytes away and leaves the buffer as it was.
fn discard_into(marker: &[u8]) -> Result<()> {
    for call in [Receive::Recvfrom, Receive::Recvmsg, Receive::Recvmmsg] {
        let [mut client, server] = tcp_pair()?;
        client.write_all(&[b'd'; 4096])?;
        let mut buffer = marked(4096, marker);
        ensure!(call.call(&server, &mut buffer, libc::MSG_TRUNC | libc::MSG_WAITALL)? == 4096, "a short read");
        ensure!(buffer == marked(4096, marker), "the kernel has written");
    }
    Ok(())
}

/// Ten pieces are offered, and three bytes come.
fn read_less_than_the_pieces(marker: &[u8]) -> Result<()> {
    let [mut client, server] = tcp_pair()?;
    client.write_all(b"GET")?;
    let mut buffers: Vec<Vec<u8>> = (0..10).map(|number| marked(if number == 0 { 2 } else { 500 }, marker)).collect();
    buffers[0].fill(0);
    let vector: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    // SAFETY: the pieces are the buffers.
    ensure!(moved(unsafe { libc::readv(server.as_raw_fd(), vector.as_ptr(), 10) })? == 3, "three bytes were sent");
    Ok(())
}

/// The last piece lies at an address that is not mapped: the kernel moves those before it, and says so.
fn write_across_a_hole(marker: &[u8]) -> Result<()> {
    let [client, mut server] = tcp_pair()?;
    let request = get("/memory/hole");
    let unsent = marked(4096, marker);
    let mut vector = [
        libc::iovec { iov_base: request.as_ptr().cast_mut().cast(), iov_len: request.len() },
        libc::iovec { iov_base: 8 as *mut libc::c_void, iov_len: 4096 },
        libc::iovec { iov_base: unsent.as_ptr().cast_mut().cast(), iov_len: unsent.len() },
    ];
    // SAFETY: the kernel checks the addresses; the pieces are only read.
    let result = unsafe { libc::sendmsg(client.as_raw_fd(), &header(&mut vector), libc::MSG_NOSIGNAL) };
    // Some kernels send what comes before the hole, others nothing; none sends what comes behind it.
    if let Ok(count) = moved(result) {
        ensure!(count <= request.len(), "bytes were sent from nowhere");
        server.read_exact(&mut vec![0; count])?;
    }
    Ok(())
}
