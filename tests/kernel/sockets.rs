// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets and the calls that move bytes on them, each by its own system call; HTTP as bytes.
//!
//! Does not: hide what a call does. Each function is one call, and gives what the kernel gave.

use std::{
    io::{self, Read, Write},
    mem,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use anyhow::{Result, ensure};
use libc::{c_int, iovec, mmsghdr, msghdr};

/// The calls that receive on a stream.
#[derive(Clone, Copy, Debug)]
pub enum Receive {
    Read,
    Readv,
    Recvfrom,
    Recvmsg,
    Recvmmsg,
}

/// The calls that send on a stream.
#[derive(Clone, Copy, Debug)]
pub enum Send {
    Write,
    Writev,
    Sendto,
    Sendmsg,
    Sendmmsg,
}

impl Receive {
    pub const ALL: [Self; 5] = [Self::Read, Self::Readv, Self::Recvfrom, Self::Recvmsg, Self::Recvmmsg];

    /// Receives by one call, into three pieces where the call takes pieces.
    pub fn call(self, socket: &impl AsRawFd, buffer: &mut [u8], flags: c_int) -> io::Result<usize> {
        let (fd, length) = (socket.as_raw_fd(), buffer.len());
        let mut vector = pieces(buffer.as_mut_ptr(), length);
        let result = match self {
            // SAFETY: `buffer` is `length` bytes, writable while the call lasts.
            Self::Read => unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), length) },
            // SAFETY: the pieces lie in `buffer`.
            Self::Readv => unsafe { libc::readv(fd, vector.as_ptr(), 3) },
            // SAFETY: as for `read`.
            Self::Recvfrom => unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), length, flags) },
            // SAFETY: the header names the pieces, which lie in `buffer`.
            Self::Recvmsg => unsafe { libc::recvmsg(fd, &mut header(&mut vector), flags) },
            Self::Recvmmsg => {
                let mut message = mmsghdr { msg_hdr: header(&mut vector), msg_len: 0 };
                // SAFETY: one message, whose pieces lie in `buffer`; no timeout.
                let count = unsafe { libc::recvmmsg(fd, &mut message, 1, flags as _, ptr::null_mut()) };
                if count < 0 { -1 } else { message.msg_len as isize }
            }
        };
        moved(result)
    }
}

impl Send {
    pub const ALL: [Self; 5] = [Self::Write, Self::Writev, Self::Sendto, Self::Sendmsg, Self::Sendmmsg];

    /// Sends by one call, from three pieces where the call takes pieces.
    pub fn call(self, socket: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
        let (fd, length) = (socket.as_raw_fd(), bytes.len());
        let mut vector = pieces(bytes.as_ptr().cast_mut(), length);
        let result = match self {
            // SAFETY: `bytes` is `length` bytes.
            Self::Write => unsafe { libc::write(fd, bytes.as_ptr().cast(), length) },
            // SAFETY: the pieces lie in `bytes`, which are only read.
            Self::Writev => unsafe { libc::writev(fd, vector.as_ptr(), 3) },
            // SAFETY: as for `write`; no address.
            Self::Sendto => unsafe { libc::send(fd, bytes.as_ptr().cast(), length, libc::MSG_NOSIGNAL) },
            // SAFETY: the header names the pieces, which lie in `bytes` and are only read.
            Self::Sendmsg => unsafe { libc::sendmsg(fd, &header(&mut vector), libc::MSG_NOSIGNAL) },
            Self::Sendmmsg => {
                let mut message = mmsghdr { msg_hdr: header(&mut vector), msg_len: 0 };
                // SAFETY: one message, as for `sendmsg`.
                let count = unsafe { libc::sendmmsg(fd, &mut message, 1, libc::MSG_NOSIGNAL as _) };
                if count < 0 { -1 } else { message.msg_len as isize }
            }
        };
        moved(result)
    }

    pub fn all(self, socket: &impl AsRawFd, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.call(socket, bytes)?..];
        }
        Ok(())
    }
}

/// What a call says it moved.
pub fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Unequal ones, so that no boundary falls on another one.
fn pieces(base: *mut u8, length: usize) -> [iovec; 3] {
    let (first, second) = (length.min(7), length.min(7 + 101));
    let piece = |from: usize, to: usize| iovec { iov_base: base.wrapping_add(from).cast(), iov_len: to - from };
    [piece(0, first), piece(first, second), piece(second, length)]
}

pub fn header(vector: &mut [iovec]) -> msghdr {
    // SAFETY: all zeroes is a header without address, pieces and control data.
    let mut header: msghdr = unsafe { mem::zeroed() };
    header.msg_iov = vector.as_mut_ptr();
    header.msg_iovlen = vector.len() as _;
    header
}

pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: onlooker.test\r\n\r\n").into_bytes()
}

/// The head, and a body that is `length` bytes.
pub fn post(path: &str, length: usize) -> Vec<u8> {
    let mut bytes = post_head(path, length);
    bytes.resize(bytes.len() + length, b'q');
    bytes
}

pub fn post_head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: onlooker.test\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

pub fn response(status: u16, length: usize) -> Vec<u8> {
    let mut bytes = response_head(status, length);
    bytes.resize(bytes.len() + length, b'r');
    bytes
}

pub fn response_head(status: u16, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A connection over loopback: the client's end and the server's.
pub fn tcp_pair() -> Result<[TcpStream; 2]> {
    tcp_pair_at("127.0.0.1:0")
}

pub fn tcp_pair_at(address: &str) -> Result<[TcpStream; 2]> {
    connect(&TcpListener::bind(address)?)
}

pub fn connect(listener: &TcpListener) -> Result<[TcpStream; 2]> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(onlooker_tests::PATIENCE))?;
    }
    Ok([client, server])
}

/// One GET and its answer, by plain reads and writes; all fits into the sockets' buffers.
pub fn exchange(mut client: impl Read + Write, mut server: impl Read + Write, path: &str) -> Result<()> {
    client.write_all(&get(path))?;
    answer(&mut server, path, 200)?;
    read_whole(&mut client, &response(200, 5))
}

/// Takes the GET of this path and answers it with five bytes.
pub fn answer(mut server: impl Read + Write, path: &str, status: u16) -> Result<()> {
    read_whole(&mut server, &get(path))?;
    Ok(server.write_all(&response(status, 5))?)
}

/// Reads exactly what is expected.
pub fn read_whole(mut from: impl Read, expected: &[u8]) -> Result<()> {
    let mut buffer = vec![0; expected.len()];
    from.read_exact(&mut buffer)?;
    ensure!(buffer == expected, "other bytes came: {}", String::from_utf8_lossy(&buffer));
    Ok(())
}

/// Reads as many bytes as that, whatever they are, by this call.
pub fn receive_whole(call: Receive, socket: &impl AsRawFd, length: usize) -> Result<Vec<u8>> {
    let mut received = vec![0; length];
    let mut done = 0;
    while done < length {
        let count = call.call(socket, &mut received[done..], 0)?;
        ensure!(count > 0, "the peer closed after {done} of {length} bytes");
        done += count;
    }
    Ok(received)
}

/// An option of a socket that is an integer.
pub fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the value is an integer of the size that is said.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size_of::<c_int>() as u32) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A close from now on is a reset.
pub fn reset_at_close(socket: &impl AsRawFd) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as u32;
    let fd = socket.as_raw_fd();
    // SAFETY: the value is a linger of the size that is said.
    let result = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
