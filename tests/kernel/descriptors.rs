// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptors that come and go, are copied, passed on and inherited: the connection is the socket, not its number.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    os::unix::net::UnixStream,
    process::Command,
    thread,
};

use anyhow::{Result, ensure};

use crate::{
    PEER, Stage,
    processes::fork,
    sockets::{answer, connect, exchange, get, header, moved, read_whole, response, tcp_pair},
};

/// The same two numbers for thousands of connections, each a few microseconds long.
#[test]
fn reused_within_microseconds() -> Result<()> {
    const CONNECTIONS: usize = 2000;
    let stage = Stage::watch_self("/descriptors/reuse/")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let paths: Vec<String> = (0..CONNECTIONS).map(|number| stage.path(number)).collect();
    for path in &paths {
        let [client, server] = connect(&listener)?;
        exchange(&client, &server, path)?;
    }
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.assert_pair(path, 200, 0, 5);
    }
    Ok(())
}

/// Each copy reads, or writes, or both, and the number it was copied from is closed.
#[test]
fn copied() -> Result<()> {
    let stage = Stage::watch_self("/descriptors/dup/")?;
    let [client, server] = tcp_pair()?;
    let number = server.as_raw_fd();
    // SAFETY: descriptors of this test; the target of dup2 is one that was just opened for it.
    let copies = unsafe {
        let taken = libc::dup(0);
        [libc::dup(number), libc::dup2(number, taken), libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 500)]
    };
    // SAFETY: new descriptors, owned by nobody else.
    let copies = copies.map(|copy| unsafe { TcpStream::from_raw_fd(copy) });
    drop(server);
    let paths: Vec<String> = (0..9).map(|number| stage.path(number)).collect();
    for (index, path) in paths.iter().enumerate() {
        (&client).write_all(&get(path))?;
        read_whole(&copies[index / 3], &get(path))?;
        (&copies[index % 3]).write_all(&response(200, 5))?;
        read_whole(&client, &response(200, 5))?;
    }
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

/// A connection on which this process has answered goes to a child, which answers on, and closes it.
#[test]
fn passed_to_another_process() -> Result<()> {
    let stage = Stage::watch_self("/descriptors/passed/")?;
    let paths = ["before", "after"].map(|name| stage.path(name));
    let [client, server] = tcp_pair()?;
    let (ours, theirs) = UnixStream::pair()?;
    let child = fork(|| {
        let received = receive_descriptor(&theirs)?;
        answer(TcpStream::from(received), &paths[1], 200)
    })?;
    exchange(&client, &server, &paths[0])?;
    send_descriptor(&ours, &server)?;
    drop(server);
    (&client).write_all(&get(&paths[1]))?;
    read_whole(&client, &response(200, 5))?;
    child.succeeded()?;
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

/// Room for the control message of one descriptor, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 24]);

fn send_descriptor(over: &UnixStream, socket: &TcpStream) -> Result<()> {
    let (mut byte, mut control) = ([1_u8], Control([0; 24]));
    let mut vector = [libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 }];
    let mut message = header(&mut vector);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), 24);
    // SAFETY: the control data has room for one header and one descriptor; the header names memory of this function.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(&message);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(first).cast::<i32>().write_unaligned(socket.as_raw_fd());
        moved(libc::sendmsg(over.as_raw_fd(), &message, 0))?;
    }
    Ok(())
}

fn receive_descriptor(over: &UnixStream) -> Result<OwnedFd> {
    let (mut byte, mut control) = ([0_u8], Control([0; 24]));
    let mut vector = [libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 }];
    let mut message = header(&mut vector);
    (message.msg_control, message.msg_controllen) = (control.0.as_mut_ptr().cast(), 24);
    // SAFETY: as for sending; the descriptor that comes belongs to this process alone.
    unsafe {
        ensure!(moved(libc::recvmsg(over.as_raw_fd(), &mut message, 0))? == 1, "nothing came");
        let first = libc::CMSG_FIRSTHDR(&message);
        ensure!(!first.is_null(), "no descriptor came");
        Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<i32>().read_unaligned()))
    }
}

/// Half of the work in each of two threads, at both ends.
#[test]
fn read_in_one_thread_and_written_in_another() -> Result<()> {
    let stage = Stage::watch_self("/descriptors/threads/")?;
    let [client, server] = tcp_pair()?;
    let paths: Vec<String> = (0..50).map(|number| stage.path(number)).collect();
    let (asked, to_answer) = std::sync::mpsc::channel();
    thread::scope(|scope| -> Result<()> {
        let reading = scope.spawn(|| -> Result<()> {
            for path in &paths {
                read_whole(&server, &get(path))?;
                asked.send(())?;
            }
            drop(asked);
            Ok(())
        });
        let writing = scope.spawn(|| -> Result<()> {
            for () in to_answer {
                (&server).write_all(&response(200, 5))?;
            }
            Ok(())
        });
        for path in &paths {
            thread::scope(|scope| scope.spawn(|| (&client).write_all(&get(path))).join())
                .expect("it returns its errors")?;
            read_whole(&client, &response(200, 5))?;
        }
        reading.join().expect("it returns its errors")?;
        writing.join().expect("it returns its errors")
    })?;
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    Ok(())
}

/// The parent accepts and closes; a child per connection answers.
#[test]
fn fork_server() -> Result<()> {
    let stage = Stage::watch_self("/descriptors/fork/")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let paths: Vec<String> = (0..10).map(|number| stage.path(number)).collect();
    let mut pids = Vec::new();
    for path in &paths {
        let [client, server] = connect(&listener)?;
        let child = fork(|| answer(&server, path, 200))?;
        pids.push(i64::from(child.pid()));
        drop(server);
        (&client).write_all(&get(path))?;
        read_whole(&client, &response(200, 5))?;
        child.succeeded()?;
    }
    let seen = stage.finish_pairs(&paths)?;
    for (path, pid) in paths.iter().zip(pids) {
        seen.assert_pair(path, 200, 0, 5);
        assert_eq!(seen.server(path).resource["process.pid"], pid, "the child has answered");
    }
    Ok(())
}

/// Several children wait at one listener.
#[test]
fn pre_fork_server() -> Result<()> {
    const CHILDREN: usize = 4;
    let stage = Stage::watch_self("/descriptors/pre-fork/")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let paths: Vec<String> = (0..CHILDREN).map(|number| stage.path(number)).collect();
    let serve = || -> Result<()> {
        let (server, _) = listener.accept()?;
        // Any of the paths: which child is woken is the kernel's choice.
        let mut request = vec![0; get(&paths[0]).len()];
        std::io::Read::read_exact(&mut &server, &mut request)?;
        Ok((&server).write_all(&response(200, 5))?)
    };
    let children: Vec<_> = (0..CHILDREN).map(|_| fork(serve)).collect::<Result<_>>()?;
    for path in &paths {
        let client = TcpStream::connect(listener.local_addr()?)?;
        (&client).write_all(&get(path))?;
        read_whole(&client, &response(200, 5))?;
    }
    children.into_iter().try_for_each(|child| child.succeeded())?;
    let seen = stage.finish_pairs(&paths)?;
    paths.iter().for_each(|path| seen.assert_pair(path, 200, 0, 5));
    let mut pids: Vec<String> = seen.servers.values().map(|span| span.resource["process.pid"].to_string()).collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), CHILDREN, "each child has answered one");
    Ok(())
}

/// The socket outlives the program that accepted it.
#[test]
fn kept_over_an_exec() -> Result<()> {
    let stage = Stage::watch_self("/descriptors/exec/")?;
    let paths: Vec<String> = (0..3).map(|number| stage.path(number)).collect();
    let [client, server] = tcp_pair()?;
    exchange(&client, &server, &paths[0])?;
    // SAFETY: the flag of a descriptor of this test; no pointers.
    ensure!(unsafe { libc::fcntl(server.as_raw_fd(), libc::F_SETFD, 0) } == 0, "fcntl");
    // SAFETY: it is open until the end of the test.
    let inherited = unsafe { BorrowedFd::borrow_raw(server.as_raw_fd()) };
    let number = inherited.as_raw_fd().to_string();
    let mut child = Command::new(PEER).args(["exec", PEER, "answer", &number, "2"]).spawn()?;
    for path in &paths[1..] {
        (&client).write_all(&get(path))?;
        let length = child.id().to_string().len();
        let mut expected = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        expected.extend_from_slice(child.id().to_string().as_bytes());
        read_whole(&client, &expected)?;
    }
    ensure!(child.wait()?.success(), "the child has failed");
    let seen = stage.finish_pairs(&paths)?;
    for path in &paths {
        seen.pair(path);
    }
    Ok(())
}
