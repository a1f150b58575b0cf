// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Calls that move less than they were asked to, nothing at all, or bytes that will come again.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    slice, thread,
};

#[cfg(target_arch = "x86_64")]
use anyhow::Context as _;
use anyhow::{Result, ensure};
use onlooker_tests::skip;

use crate::{
    Stage, assert_body,
    sockets::{Receive, Send, exchange, get, moved, post, post_head, receive_whole, response, tcp_pair},
};

/// Looked at first, then taken: it was there once.
#[test]
fn peeked_bytes_count_once() -> Result<()> {
    let stage = Stage::watch_self("/odd/peek/")?;
    let mut paths = Vec::new();
    for peek in [Receive::Recvfrom, Receive::Recvmsg, Receive::Recvmmsg] {
        let [client, server] = tcp_pair()?;
        for round in 0..3 {
            let path = stage.path(format_args!("{peek:?}/{round}"));
            for (from, to, bytes) in [(&client, &server, post(&path, 40)), (&server, &client, response(200, 50))] {
                Send::Write.all(from, &bytes)?;
                let mut buffer = vec![0; bytes.len()];
                peek.call(to, &mut buffer, libc::MSG_PEEK)?;
                peek.call(to, &mut buffer[..9], libc::MSG_PEEK)?;
                assert_eq!(receive_whole(Receive::Read, to, bytes.len())?, bytes);
            }
            paths.push(path);
        }
    }
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 40, 50));
    Ok(())
}

/// `MSG_TRUNC` on TCP: the bytes are thrown away, and the stream goes on behind them.
#[test]
fn discarded_bodies() -> Result<()> {
    let stage = Stage::watch_self("/odd/discard/")?;
    let [client, server] = tcp_pair()?;
    let paths = [Receive::Recvfrom, Receive::Recvmsg, Receive::Recvmmsg]
        .map(|call| (call, stage.path(format_args!("{call:?}"))));
    for (call, path) in &paths {
        Send::Write.all(&client, &post(path, 5000))?;
        receive_whole(Receive::Read, &server, post_head(path, 5000).len())?;
        let flags = libc::MSG_TRUNC | libc::MSG_WAITALL;
        assert_eq!(call.call(&server, &mut [0; 5000], flags)?, 5000);
        Send::Write.all(&server, &response(200, 9))?;
        receive_whole(Receive::Read, &client, response(200, 9).len())?;
    }
    let paths = paths.map(|(_, path)| path);
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 5000, 9));
    Ok(())
}

#[test]
fn awaited_whole() -> Result<()> {
    let stage = Stage::watch_self("/odd/wait-all/")?;
    let path = stage.path("");
    let [client, server] = tcp_pair()?;
    let request = post(&path, 20_000);
    thread::scope(|scope| -> Result<()> {
        let sending = scope.spawn(|| request.chunks(3000).try_for_each(|chunk| Send::Write.all(&client, chunk)));
        let mut buffer = vec![0; request.len()];
        assert_eq!(Receive::Recvfrom.call(&server, &mut buffer, libc::MSG_WAITALL)?, request.len());
        Ok(sending.join().expect("it returns its errors")?)
    })?;
    Send::Write.all(&server, &response(200, 1))?;
    receive_whole(Receive::Read, &client, response(200, 1).len())?;
    stage.finish_pairs(slice::from_ref(&path))?.assert_pair(&path, 200, 20_000, 1);
    Ok(())
}

/// Reads that find nothing, and writes that the socket's buffer takes a part of.
#[test]
fn non_blocking_sockets() -> Result<()> {
    const BODY: usize = 8 << 20;
    let stage = Stage::watch_self("/odd/non-blocking/")?;
    let path = stage.path("");
    let [client, server] = tcp_pair()?;
    server.set_nonblocking(true)?;
    let refused = Receive::Read.call(&server, &mut [0; 64], 0).expect_err("nothing was sent yet");
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    Send::Write.all(&client, &get(&path))?;
    assert_eq!(receive_whole(Receive::Read, &server, get(&path).len())?, get(&path));
    let whole = response(200, BODY);
    let short_writes = thread::scope(|scope| -> Result<usize> {
        let reading = scope.spawn(|| receive_whole(Receive::Read, &client, whole.len()));
        let (mut left, mut short) = (&whole[..], 0);
        while !left.is_empty() {
            match Send::Write.call(&server, left) {
                Ok(count) => {
                    short += usize::from(count < left.len());
                    left = &left[count..];
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_writable(&server)?,
                Err(error) => return Err(error.into()),
            }
        }
        assert_eq!(reading.join().expect("it returns its errors")?, whole);
        Ok(short)
    })?;
    assert!(short_writes > 0, "8 MiB fit into the socket's buffer");
    stage.finish_pairs(slice::from_ref(&path))?.assert_pair(&path, 200, 0, BODY as i64);
    Ok(())
}

fn wait_writable(socket: &TcpStream) -> Result<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry.
    ensure!(unsafe { libc::poll(&mut poll, 1, 20_000) } == 1, "nobody reads");
    Ok(())
}

/// A read of nothing because nothing was asked for is not the stream's end.
#[test]
fn zero_length_reads() -> Result<()> {
    let stage = Stage::watch_self("/odd/zero/")?;
    let [client, server] = tcp_pair()?;
    let paths: Vec<String> = Receive::ALL.iter().map(|call| stage.path(format_args!("{call:?}"))).collect();
    for (call, path) in Receive::ALL.into_iter().zip(&paths) {
        Send::Write.all(&client, &get(path))?;
        // Once before the first byte, once in the middle.
        assert_eq!(call.call(&server, &mut [], 0)?, 0);
        receive_whole(Receive::Read, &server, 10)?;
        assert_eq!(call.call(&server, &mut [], 0)?, 0);
        receive_whole(Receive::Read, &server, get(path).len() - 10)?;
        Send::Write.all(&server, &response(200, 2))?;
        assert_eq!(Send::Write.call(&server, &[])?, 0);
        assert_eq!(call.call(&client, &mut [], 0)?, 0);
        receive_whole(Receive::Read, &client, response(200, 2).len())?;
    }
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 2));
    Ok(())
}

/// The answer, and the server's end behind it, had come before the client said that it had no more to say.
#[test]
fn shut_down_before_the_answer_was_read() -> Result<()> {
    let stage = Stage::watch_self("/odd/shut-down/")?;
    let path = stage.path("");
    let [mut client, mut server] = tcp_pair()?;
    client.write_all(&get(&path))?;
    receive_whole(Receive::Read, &server, get(&path).len())?;
    server.write_all(&response(200, 30))?;
    drop(server);
    // Waits for the FIN: all has come, and nothing was read.
    let mut poll = libc::pollfd { fd: client.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry.
    ensure!(unsafe { libc::poll(&mut poll, 1, 20_000) } == 1, "the server has not closed");
    client.shutdown(Shutdown::Write)?;
    let mut received = Vec::new();
    client.read_to_end(&mut received)?;
    assert_eq!(received, response(200, 30));
    stage.finish_pairs(slice::from_ref(&path))?.assert_pair(&path, 200, 0, 30);
    Ok(())
}

/// A program without a library: writes a request to its standard output as a 32-bit process does.
const PROGRAM_32_BIT: &str = r#"
static const char request[] = "GET /odd/compat/32-bit HTTP/1.1\r\nHost: onlooker.test\r\n\r\n";
static int call(int number, int first, const void *second, int third) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
    return result;
}
void _start(void) {
    int sent = call(4, 1, request, sizeof request - 1);
    call(1, sent == sizeof request - 1 ? 0 : 1, 0, 0);
}
"#;

/// Its registers mean other things: nothing is read of it, and the ledger says so.
#[test]
fn a_32_bit_program_is_refused_by_name() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
    std::fs::write(&source, PROGRAM_32_BIT)?;
    let options = ["-m32", "-O1", "-ffreestanding", "-nostdlib", "-static", "-no-pie", "-fno-stack-protector"];
    let compiled = Command::new("cc").args(options).arg("-o").arg(&program).arg(&source).stderr(Stdio::null()).status();
    if !compiled.is_ok_and(|status| status.success()) {
        skip("no C compiler that makes 32-bit programs");
        return Ok(());
    }
    let stage = Stage::watch_self("/odd/compat/")?;
    let [client, mut server] = tcp_pair()?;
    let output = Stdio::from(std::os::fd::OwnedFd::from(client));
    let Ok(status) = Command::new(&program).stdout(output).status() else {
        skip("this kernel runs no 32-bit programs");
        return Ok(());
    };
    assert!(status.success());
    let mut request = String::new();
    server.read_to_string(&mut request)?;
    let path = stage.path("32-bit");
    assert!(request.contains(&path));
    server.write_all(&response(200, 0))?;
    drop(server);
    // The server's end is in this process, and seen.
    let seen = stage.finish(&[path], &[])?;
    let refused = seen.finished.ledger.total_of("onlooker_kernel_records_lost_total", &[("reason", "compat_call")]);
    assert!(refused >= 1, "{:#?}", seen.finished.ledger);
    Ok(())
}

/// Other machines have no such entry.
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn the_32_bit_entry_from_a_64_bit_program() {
    skip("only x86-64 has a 32-bit entry for 64-bit programs");
}

/// The 32-bit entry from a 64-bit program: what it writes may go unseen, and nothing may go wrong.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_entry_from_a_64_bit_program() -> Result<()> {
    let stage = Stage::watch_self("/odd/int80/")?;
    let (unseen, after) = (stage.path("unseen"), stage.path("after"));
    let [mut client, mut server] = tcp_pair()?;
    let request = get(&unseen);
    // The 32-bit entry takes addresses of 32 bits.
    // SAFETY: a new mapping, of which as many bytes as were asked for are ours.
    let low = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    ensure!(low != libc::MAP_FAILED, "no memory below 4 GiB");
    // SAFETY: the request fits into the page.
    unsafe { std::ptr::copy_nonoverlapping(request.as_ptr(), low.cast(), request.len()) };
    let result: i64;
    // SAFETY: write(2) by its 32-bit number; it reads the request and changes nothing but rax, and r8 to r11. The compiler
    // keeps rbx for itself, so that it is put back.
    unsafe {
        std::arch::asm!(
            "xchg {descriptor:r}, rbx", "int 0x80", "xchg {descriptor:r}, rbx",
            descriptor = inout(reg) i64::from(client.as_raw_fd()) => _,
            inout("rax") 4_i64 => result, in("rcx") low, in("rdx") request.len(),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if moved(result as isize).is_err() {
        skip("this kernel has no 32-bit entry");
        return Ok(());
    }
    assert_eq!(result as usize, request.len());
    receive_whole(Receive::Read, &server, request.len())?;
    server.write_all(&response(200, 4))?;
    receive_whole(Receive::Read, &client, response(200, 4).len())?;
    exchange(&mut client, &mut server, &after)?;
    // Only hooks on system calls are passed by.
    let both = [unseen.clone(), after.clone()];
    let seen = if stage.hooks_system_calls()? {
        stage.finish(&both, slice::from_ref(&after))?
    } else {
        stage.finish_pairs(&both)?
    };
    assert_body(seen.server(&unseen), "http.response.body.size", 4);
    let client = seen.clients.get(&after).context("the next request is seen")?;
    assert_eq!(client.integer("http.response.status_code"), Some(200));
    Ok(())
}
