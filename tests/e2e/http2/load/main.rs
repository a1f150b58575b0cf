// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Load over HTTP/2, by the `h2` crate: `serve`, or `call PORT CONNECTIONS STREAMS`; or `swallow`.
//!
//! `serve` prints its port, answers each request with its own path, prints for each line how many it has answered, and
//! ends with its standard input. `call` keeps its connections, with so many streams open on each at any time; for each line
//! `FIRST COUNT` it asks for `/n/{number}` from the first number on, once for each, and prints `done` when all are answered.
//! `/bytes/{count}` is answered with so many bytes, for which the line is `bytes COUNT`. `swallow` is a server that reads
//! whatever comes, and says nothing.

use std::{
    env,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::{SendStream, client::SendRequest};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<usize> = env::args().skip(2).map(|argument| argument.parse()).collect::<Result<_, _>>()?;
    match arguments[..] {
        [port, connections, streams] => call(u16::try_from(port)?, connections, streams).await,
        _ if env::args().nth(1).is_some_and(|role| role == "swallow") => swallow().await,
        _ => serve().await,
    }
}

async fn swallow() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted?;
                tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
            }
            line = lines.next_line() => if line?.is_none() {
                return Ok(());
            },
        }
    }
}

async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let answered = Arc::<AtomicU64>::default();
    let mut connections = JoinSet::new();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                // A client that breaks off ends its own connection only.
                connections.spawn(serve_connection(stream, Arc::clone(&answered)));
            }
            line = lines.next_line() => match line? {
                Some(_) => println!("{}", answered.load(Ordering::Relaxed)),
                None => return Ok(()),
            },
        }
    }
}

async fn serve_connection(stream: TcpStream, answered: Arc<AtomicU64>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        let path = request.uri().path();
        let mut body = respond.send_response(http::Response::new(()), false)?;
        match path.strip_prefix("/bytes/").and_then(|count| count.parse().ok()) {
            // The connection goes on meanwhile: it is what hears of the client's windows.
            Some(count) => drop(tokio::spawn(send_bytes(body, count))),
            None => body.send_data(Bytes::copy_from_slice(path.as_bytes()), true)?,
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn send_bytes(mut body: SendStream<Bytes>, count: usize) -> Result<()> {
    let page = Bytes::from(vec![b'x'; 1 << 20]);
    let mut left = count;
    while left > 0 {
        body.reserve_capacity(left.min(page.len()));
        let granted = poll_fn(|context| body.poll_capacity(context)).await.context("the client is gone")??;
        let part = granted.min(left).min(page.len());
        left -= part;
        body.send_data(page.slice(..part), left == 0)?;
    }
    Ok(())
}

async fn call(port: u16, connections: usize, streams: usize) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (client, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        clients.push(client);
    }
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(count) = line.strip_prefix("bytes ") {
            download(clients.first().context("no connection")?, port, count.parse()?).await?;
            println!("done");
            continue;
        }
        let (first, count) = line.split_once(' ').context("a line is FIRST COUNT")?;
        let (first, count): (u64, u64) = (first.parse()?, count.parse()?);
        let next = Arc::new(AtomicU64::new(first));
        let mut workers: JoinSet<Result<()>> = clients
            .iter()
            .flat_map(|client| (0..streams).map(move |_| client.clone()))
            .map(|client| work(client, Arc::clone(&next), first + count, port))
            .collect();
        while let Some(worked) = workers.join_next().await {
            worked??;
        }
        println!("done");
    }
    Ok(())
}

/// One request after the other, until the numbers are used up.
async fn work(client: SendRequest<Bytes>, next: Arc<AtomicU64>, end: u64, port: u16) -> Result<()> {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= end {
            return Ok(());
        }
        let path = format!("/n/{number}");
        let received = get(&client, port, &path, Vec::new(), |mut all, data| {
            all.extend_from_slice(data);
            all
        });
        let received = received.await?;
        ensure!(received == path.as_bytes(), "{path} was answered with {received:?}");
    }
}

async fn download(client: &SendRequest<Bytes>, port: u16, count: usize) -> Result<()> {
    let received = get(client, port, &format!("/bytes/{count}"), 0, |sum, data| sum + data.len()).await?;
    ensure!(received == count, "{received} of {count} bytes");
    Ok(())
}

/// What `fold` makes of the answer's body.
async fn get<T>(
    client: &SendRequest<Bytes>,
    port: u16,
    path: &str,
    start: T,
    mut fold: impl FnMut(T, &[u8]) -> T,
) -> Result<T> {
    let request = http::Request::get(format!("http://127.0.0.1:{port}{path}")).body(())?;
    let (response, _) = client.clone().ready().await?.send_request(request, true)?;
    let mut body = response.await?.into_body();
    let mut folded = start;
    while let Some(data) = poll_fn(|context| body.poll_data(context)).await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        folded = fold(folded, &data);
    }
    Ok(folded)
}
