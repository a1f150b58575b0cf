// SPDX-License-Identifier: Apache-2.0 OR MIT
//! gRPC-Web over HTTP/1, answered by tonic's own server of it: each call has its method, its messages and its status, which
//! stands in the head where nothing else was said, and behind the last message otherwise.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::Command,
};

use anyhow::Result;
use onlooker_tests::Span;

use super::{finish, watch};
use crate::peer::Peer;

/// The method, the messages that answer it, the status, and whether it is an error of the server's.
const CALLS: [(&str, Option<i64>, &str, bool); 4] = [
    ("Unary", Some(1), "OK", false),
    ("Offer", Some(4), "OK", false),
    ("Break", Some(2), "INTERNAL", true),
    ("Fail", None, "NOT_FOUND", false),
];

/// Asks as browsers do, and reads the answer to its end.
fn call(port: u16, method: &str) -> Result<()> {
    const MESSAGE: &[u8] = b"\0\0\0\0\x03ask";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let head = format!(
        "POST /shop.v1.Shop/{method} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/grpc-web+proto\r\n\
         X-Grpc-Web: 1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        MESSAGE.len()
    );
    stream.write_all(&[head.as_bytes(), MESSAGE].concat())?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn calls_over_http1_are_calls() -> Result<()> {
    let mut server = Peer::start(Command::new(env!("CARGO_BIN_EXE_shop-tonic")).arg("serve"))?;
    let port = server.port()?;
    let onlooker = watch(&[&server])?;
    for (method, ..) in CALLS {
        call(port, method)?;
    }
    let finished = finish(onlooker, CALLS.len())?;
    for (method, messages, status, is_error) in CALLS {
        let name = format!("shop.v1.Shop/{method}");
        let spans: Vec<&Span> = finished.spans.iter().filter(|span| span.name == name).collect();
        let [span] = spans[..] else { panic!("{method} was called once: {spans:?}") };
        assert_eq!(
            (span.text("rpc.system.name"), span.text("rpc.method")),
            (Some("grpc"), Some(name.as_str())),
            "{span:?}"
        );
        assert_eq!(span.text("rpc.response.status_code"), Some(status), "{span:?}");
        assert_eq!((span.kind, span.is_error), ("SERVER", is_error), "{span:?}");
        assert_eq!(span.text("network.protocol.version"), Some("1.1"), "{span:?}");
        let told = span.integer("onlooker.rpc.response.messages").filter(|count| *count > 0);
        assert_eq!(told, messages, "{span:?}");
    }
    Ok(())
}
