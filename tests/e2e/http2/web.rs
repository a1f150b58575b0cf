// SPDX-License-Identifier: Apache-2.0 OR MIT
//! HTTP/2 that is no gRPC: nginx and curl by prior knowledge, Go's server and curl by `Upgrade: h2c`, Node with itself.
//!
//! In: what is asked, as a list. Out: the same list, read from the spans of both ends.

use std::{fs, net::TcpStream, path::Path, process::Command};

use anyhow::Result;
use onlooker_tests::{PATIENCE, Span, free_address, poll_until, skip};

use super::{
    finish,
    packages::{installed, missing, run_in},
    pairs, watch,
};
use crate::peer::Peer;

/// Lets the client do it, watched from its first byte, and holds both ends of each exchange against the list: method,
/// path, status, version of the protocol, and why there is no answer.
fn check(server: &Peer, client: Peer, expected: &[&str]) -> Result<()> {
    check_order(server, client, "all", expected, &[])
}

fn check_order(server: &Peer, mut client: Peer, order: &str, expected: &[&str], pushed: &[&str]) -> Result<()> {
    let onlooker = watch(&[server, &client])?;
    client.order(order)?;
    let finished = finish(onlooker, 2 * (expected.len() + pushed.len()))?;
    // Nobody has asked for what is pushed, and it has been sent before the client hears of it: each end is a root.
    let (alone, asked): (Vec<Span>, Vec<Span>) =
        finished.spans.into_iter().partition(|span| pushed.contains(&describe(span).as_str()));
    assert_eq!(alone.len(), 2 * pushed.len(), "{alone:?}");
    assert!(alone.iter().all(|span| span.parent_span_id.is_empty()), "{alone:?}");
    let mut told = Vec::new();
    for (client, server) in pairs(&asked)? {
        assert_eq!(describe(client), describe(server));
        told.push(describe(client));
    }
    told.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(told, expected);
    client.end()
}

fn describe(span: &Span) -> String {
    assert_eq!(span.attributes.get("onlooker.partial"), None, "{span:?}");
    let path = match span.kind {
        "SERVER" => span.text("url.path").unwrap_or_default().to_owned(),
        _ => {
            let url = span.text("url.full").unwrap_or_default().trim_start_matches("http://");
            let path = url.find('/').map_or("", |at| &url[at..]);
            path.split('?').next().unwrap_or_default().to_owned()
        }
    };
    let method = span.text("http.request.method").unwrap_or("-");
    let status = span.integer("http.response.status_code").map_or("-".to_owned(), |status| status.to_string());
    let version = span.text("network.protocol.version").unwrap_or("-");
    // A status that is an error is told as one too, and by one of the two ends only.
    let error = span.text("error.type").filter(|error| *error != status).unwrap_or_default();
    format!("{method} {path} {status} {version} {error}").trim_end().to_owned()
}

/// A shell that runs these commands for each line that it is told.
fn script(commands: &[String]) -> Result<Peer> {
    let script = format!("while read -r _; do {{ {}; }} > /dev/null; echo done; done", commands.join(" && "));
    Peer::start(Command::new("sh").args(["-c", &script]))
}

fn nginx(folder: &Path, port: u16) -> Result<Peer> {
    let path = folder.display();
    let configuration = format!(
        "user root;\ndaemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log {path}/error.log;\nevents {{}}\n\
         http {{\naccess_log off;\nclient_body_temp_path {path}/bodies;\nproxy_temp_path {path}/proxied;\n\
         fastcgi_temp_path {path}/fastcgi;\nuwsgi_temp_path {path}/uwsgi;\nscgi_temp_path {path}/scgi;\n\
         server {{\nlisten 127.0.0.1:{port} http2;\nlocation = /missing {{ return 404; }}\n\
         location / {{ return 200 $request_uri; }}\n}}\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), configuration)?;
    let mut nginx = Command::new("nginx");
    let server = Peer::start(nginx.arg("-e").arg(folder.join("error.log")).arg("-c").arg(folder.join("nginx.conf")))?;
    poll_until("nginx listens", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).ok())?;
    Ok(server)
}

#[test]
fn nginx_and_curl_by_prior_knowledge() -> Result<()> {
    if let Some(program) = missing(&["nginx", "curl"]) {
        skip(&format!("nginx with HTTP/2: {program} is not installed"));
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let port = free_address().port();
    let server = nginx(folder.path(), port)?;
    // One request a connection: several releases of curl fail at the second one by prior knowledge.
    let ask = |path| format!("curl -sS --http2-prior-knowledge 'http://127.0.0.1:{port}{path}'");
    check(&server, script(&["/one?q=1", "/missing"].map(ask))?, &["GET /one 200 2", "GET /missing 404 2"])?;

    // Many at once, with 20 on each of two connections.
    let load =
        Peer::start(Command::new(env!("CARGO_BIN_EXE_http2-load")).args(["call", &port.to_string(), "2", "20"]))?;
    let expected: Vec<String> = (0..200).map(|number| format!("GET /n/{number} 200 2")).collect();
    check_order(&server, load, "0 200", &expected.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

#[test]
fn go_and_curl_by_upgrade() -> Result<()> {
    if let Some(program) = missing(&["go", "curl"]) {
        skip(&format!("Upgrade: h2c: {program} is not installed"));
        return Ok(());
    }
    let build = ["build", "-mod=readonly", "-buildvcs=false", "-o", "web", "."];
    let folder = installed("web/go", |folder| run_in(folder, "go", &build))?;
    let mut server = Peer::start(&mut Command::new(folder.join("web")))?;
    let port = server.port()?;
    let url = |path| format!("'http://127.0.0.1:{port}{path}'");
    let urls = ["/up?q=1", "/next", "/missing"].map(url).join(" ");
    // The request that asks for it is one of HTTP/1, and is answered by HTTP/2.
    let client = script(&[format!("curl -sS --http2 {urls}")])?;
    check(&server, client, &["GET /up 200 1.1", "GET /next 200 2", "GET /missing 404 2"])?;
    // The same server, by preface and by HTTP/1.
    let client =
        script(&["/up?q=1", "/missing"].map(|path| format!("curl -sS --http2-prior-knowledge {}", url(path))))?;
    check(&server, client, &["GET /up 200 2", "GET /missing 404 2"])?;
    let client = script(&[format!("curl -sS --http1.1 {urls}")])?;
    check(&server, client, &["GET /up 200 1.1", "GET /next 200 1.1", "GET /missing 404 1.1"])
}

#[test]
fn node() -> Result<()> {
    if let Some(program) = missing(&["node"]) {
        skip(&format!("HTTP/2 by Node: {program} is not installed"));
        return Ok(());
    }
    let folder = installed("web/node", |_| Ok(()))?;
    let node = || {
        let mut node = Command::new("node");
        node.arg(folder.join("web.js"));
        node
    };
    let mut server = Peer::start(node().arg("serve"))?;
    let port = server.port()?.to_string();
    let client = Peer::start(node().args(["call", &port]))?;
    let expected = [
        "POST /echo 200 2",
        "GET /plain 200 2",
        "GET /busy 503 2",
        "GET /refused - 2 INTERNAL_ERROR",
        "GET /hinted 200 2",
        "GET /page 200 2",
        "GET /trailers 200 2",
        "GET /held 200 2 CANCEL",
    ];
    check_order(&server, client, "all", &expected, &["GET /style.css 200 2"])
}
