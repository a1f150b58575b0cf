// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random conversations come out as they went in, however they are cut; random garbage harms nothing.

use std::{format, string::String, vec::Vec};

use proptest::{collection::vec, prelude::*, sample::select};

use super::harness::{Step, from, run, text, to};
use crate::End;

#[derive(Clone, Debug)]
struct Exchange {
    method: &'static str,
    request: Body,
    informational: bool,
    status: u16,
    response: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Length(Vec<u8>),
    /// A body of these chunks.
    Chunked(Vec<Vec<u8>>),
}

impl Body {
    fn head_and_body(&self) -> (String, Vec<u8>) {
        match self {
            Self::Length(bytes) => (format!("cOntent-length: {}\r\n\r\n", bytes.len()), bytes.clone()),
            Self::Chunked(chunks) => {
                let mut body = Vec::new();
                for chunk in chunks {
                    body.extend(format!("{:x};a=b\r\n", chunk.len()).bytes());
                    body.extend([chunk, &b"\r\n"[..]].concat());
                }
                body.extend(b"0\r\nTrailer: x\r\n\r\n");
                ("Transfer-Encoding: chunked\r\n\r\n".into(), body)
            }
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Length(bytes) => bytes.len(),
            Self::Chunked(chunks) => chunks.iter().map(Vec::len).sum(),
        }
    }
}

impl Exchange {
    fn request_bytes(&self, number: u16) -> Vec<u8> {
        let (head, body) = self.request.head_and_body();
        [format!("{} /{number} HTTP/1.1\r\nHost: a\r\n{head}", self.method).into_bytes(), body].concat()
    }

    fn has_response_body(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status, 204 | 304)
    }

    fn response_bytes(&self) -> Vec<u8> {
        let informational = if self.informational { "HTTP/1.1 103 Hints\r\nLink: y\r\n\r\n" } else { "" };
        let (head, body) = self.response.head_and_body();
        let body = if self.has_response_body() { body } else { Vec::new() };
        [format!("{informational}HTTP/1.1 {} Some Reason\r\n{head}", self.status).into_bytes(), body].concat()
    }
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(Body::Length),
        vec(vec(any::<u8>(), 1..20), 0..4).prop_map(Body::Chunked),
    ]
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = select(&["GET", "POST", "HEAD", "purge", "OPTIONS"][..]);
    let status = select(&[200, 204, 304, 404, 503][..]);
    (method, body(), any::<bool>(), status, body()).prop_map(|(method, request, informational, status, response)| {
        Exchange { method, request, informational, status, response }
    })
}

/// Cuts bytes into pieces of these lengths, over and over.
fn cut(bytes: &[u8], lengths: &[usize], step: impl Fn(&[u8]) -> Step) -> Vec<Step> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(*length));
        pieces.push(step(piece));
        rest = behind;
    }
    pieces
}

/// Anything that may come, most of it like something that is understood.
fn step() -> impl Strategy<Value = Step> {
    let word = select(
        &[
            "GET / HTTP/1.1\r\n",
            "HEAD /x HTTP/1.0\r\n",
            "CONNECT a:1 HTTP/1.1\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: chunked\r\n",
            "\r\n",
            "\r\n\r\n",
            "5\r\nhello\r\n",
            "ffffffffffffffff\r\n",
            "0\r\n\r\n",
            "\n",
            " ",
            "\0",
        ][..],
    );
    let bytes = prop_oneof![vec(word, 1..5).prop_map(|words| words.concat().into_bytes()), vec(any::<u8>(), 1..50),];
    let length = prop_oneof![1..40_u64, any::<u64>()];
    let end = select(&[End::Finished, End::Reset, End::Abandoned][..]);
    prop_oneof![
        4 => bytes.clone().prop_map(Step::Requests),
        4 => bytes.prop_map(Step::Responses),
        1 => length.clone().prop_map(Step::RequestsGap),
        1 => length.prop_map(Step::ResponsesGap),
        1 => end.clone().prop_map(Step::RequestsEnd),
        1 => end.prop_map(Step::ResponsesEnd),
    ]
}

/// Bytes at a place, up to a length, become a gap. `which` chooses the step among those of the script.
fn lose(steps: &mut Vec<Step>, (which, at, length): (usize, usize, usize)) {
    let which = which % steps.len();
    let (is_request, bytes) = match &steps[which] {
        Step::Requests(bytes) => (true, bytes.clone()),
        Step::Responses(bytes) => (false, bytes.clone()),
        _ => return,
    };
    let (before, rest) = bytes.split_at(at % bytes.len());
    let (lost, behind) = rest.split_at(rest.len().min(length));
    let (step, gap): (fn(&[u8]) -> Step, _) = match is_request {
        true => (|bytes| to(bytes), Step::RequestsGap(lost.len() as u64)),
        false => (|bytes| from(bytes), Step::ResponsesGap(lost.len() as u64)),
    };
    let pieces = [step(before), gap, step(behind)];
    let pieces = pieces
        .into_iter()
        .filter(|step| !matches!(step, Step::Requests(bytes) | Step::Responses(bytes) if bytes.is_empty()));
    steps.splice(which..=which, pieces);
}

proptest! {
    /// Whatever is lost, no response is given to a request that is not its own, and the next exchange is whole.
    #[test]
    fn losses_never_pair_wrongly(
        turns in vec(vec(exchange(), 1..4), 1..6),
        losses in vec((any::<usize>(), any::<usize>(), 1..400_usize), 1..5),
        joined_mid_stream in any::<bool>(),
    ) {
        let (mut steps, mut number) = (Vec::new(), 0);
        for exchanges in &turns {
            let (mut requests, mut responses) = (Vec::new(), Vec::new());
            for exchange in exchanges {
                // The number is in the target and in the status, so that a pair can be checked.
                let exchange = Exchange { status: 400 + number, ..exchange.clone() };
                requests.extend(exchange.request_bytes(number));
                responses.extend(exchange.response_bytes());
                number += 1;
            }
            let head = requests.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
            if let [exchange] = &exchanges[..]
                && exchange.informational
                && head < requests.len()
            {
                // The conversation turns inside the request.
                steps.extend([to(&requests[..head]), from("HTTP/1.1 100 Continue\r\n\r\n"), to(&requests[head..])]);
            } else {
                steps.push(to(&requests));
            }
            steps.push(from(&responses));
        }
        for loss in losses {
            lose(&mut steps, loss);
        }
        steps.extend([to("GET /199 HTTP/1.1\r\n\r\n"), from("HTTP/1.1 599 x\r\nContent-Length: 0\r\n\r\n")]);
        let outcome = text(&run(joined_mid_stream, &steps));
        let mut pairs = Vec::new();
        for line in outcome.lines().filter(|line| line.contains(" < ") && !line.contains("end")) {
            let (stream, status) = line.split_once(" < ").expect("filtered");
            let request = outcome.lines().find(|line| line.starts_with(&format!("{stream} > ")));
            let target = request.and_then(|line| line.rsplit('/').next()).unwrap_or_default();
            prop_assert_eq!(target.parse::<u16>().map(|number| number + 400).ok(), status.parse().ok(), "{}", outcome);
            pairs.push(status);
        }
        prop_assert_eq!(pairs.last(), Some(&"599"), "{}", outcome);
        prop_assert!(outcome.contains("> end 0") && outcome.contains("< end 0"), "{}", outcome);
    }

    #[test]
    fn conversations_come_out_as_they_went_in(
        turns in vec(vec(exchange(), 1..5), 1..5),
        lengths in vec(1..60_usize, 1..5),
        joined_mid_stream in any::<bool>(),
    ) {
        let (mut steps, mut expected, mut stream) = (Vec::new(), Vec::new(), 0_u16);
        for exchanges in &turns {
            let requests: Vec<u8> = exchanges.iter().zip(stream..).flat_map(|(exchange, stream)| exchange.request_bytes(stream)).collect();
            let responses: Vec<u8> = exchanges.iter().flat_map(Exchange::response_bytes).collect();
            steps.extend(cut(&requests, &lengths, |bytes| to(bytes)));
            steps.extend(cut(&responses, &lengths, |bytes| from(bytes)));
            for (exchange, stream) in exchanges.iter().zip(stream..) {
                expected.push(format!("{stream} > {} /{stream}", exchange.method));
                expected.push(format!("{stream} > end {}", exchange.request.length()));
            }
            for exchange in exchanges {
                let length = if exchange.has_response_body() { exchange.response.length() } else { 0 };
                expected.push(format!("{stream} < {}", exchange.status));
                expected.push(format!("{stream} < end {length}"));
                stream += 1;
            }
        }
        prop_assert_eq!(text(&run(joined_mid_stream, &steps)), expected.join("\n"));
    }

    /// `run` itself checks the order of the messages and the memory held.
    #[test]
    fn garbage_harms_nothing(steps in vec(step(), 0..60), joined_mid_stream in any::<bool>()) {
        run(joined_mid_stream, &steps);
    }

    /// However bytes without gaps are cut, they mean the same.
    #[test]
    fn cuts_change_nothing(steps in vec(step(), 0..12), lengths in vec(1..9_usize, 1..4)) {
        let ends = [Step::RequestsEnd(End::Finished), Step::ResponsesEnd(End::Finished)];
        let gapless: Vec<Step> = steps
            .into_iter()
            .filter(|step| !matches!(step, Step::RequestsGap(_) | Step::ResponsesGap(_)))
            .chain(ends)
            .collect();
        let pieces: Vec<Step> = gapless
            .iter()
            .flat_map(|step| match step {
                Step::Requests(bytes) => cut(bytes, &lengths, |piece| to(piece)),
                Step::Responses(bytes) => cut(bytes, &lengths, |piece| from(piece)),
                other => Vec::from([other.clone()]),
            })
            .collect();
        // Cut, garbage is known for what it is a little later: the order may differ, the sum may not.
        let lines = |steps: &[Step]| {
            let mut lines: Vec<String> = text(&run(false, steps)).lines().map(String::from).collect();
            lines.sort();
            lines
        };
        prop_assert_eq!(lines(&pieces), lines(&gapless));
    }
}
