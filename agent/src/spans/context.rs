// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The trace context that a request carried.
//!
//! In: the headers of a request. Out: what W3C `traceparent` and `tracestate` say, else what B3 says (the single
//! header, else the several). The first valid one counts; an invalid one is as good as absent.
//! Does not: write any, nor repair one.
//!
//! Sources: W3C Trace Context level 2, sections 3.2 and 3.3; openzipkin/b3-propagation.

use agent_protocols::http::{Header, HttpRequest};

use super::{Sampled, SpanId, TraceId};

/// Bytes of `tracestate` that are kept: what the specification asks every party to carry (section 3.3.1.5). Larger:
/// memory for every open request. Smaller: vendors lose entries.
const TRACE_STATE_BYTES: usize = 512;

/// Entries longer than this go first where the whole is too long (the same section).
const LONG_ENTRY_BYTES: usize = 128;

/// Entries of `tracestate`; a longer list is invalid as a whole (section 3.3.1.1).
const TRACE_STATE_ENTRIES: usize = 32;

/// What a request carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Absent where only a decision about sampling was sent, which B3 allows.
    pub parent: Option<(TraceId, SpanId)>,
    pub sampled: Sampled,
    pub trace_state: Option<String>,
}

impl Context {
    /// The context of a request, absent where it carried none that is valid.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Option<Self> {
        if !request.has_context() {
            return None;
        }
        w3c(request).or_else(|| b3_single(request)).or_else(|| b3_several(request))
    }

    const fn sampling_alone(sampled: Sampled) -> Self {
        Self { parent: None, sampled, trace_state: None }
    }
}

fn w3c(request: &HttpRequest) -> Option<Context> {
    let (trace, span, sampled) = request.headers(Header::Traceparent).find_map(traceparent)?;
    Some(Context {
        parent: Some((trace, span)),
        sampled,
        trace_state: trace_state(request.headers(Header::Tracestate)),
    })
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case. Later versions may go on after another dash.
fn traceparent(value: &[u8]) -> Option<(TraceId, SpanId, Sampled)> {
    let value = value.trim_ascii();
    let version = hex::<1>(value.get(..2)?)?[0];
    let goes_on = match value.get(55) {
        None => false,
        Some(b'-') => true,
        Some(_) => return None,
    };
    if version == 0xff || (version == 0 && goes_on) {
        return None;
    }
    let dashes = [value.get(2)?, value.get(35)?, value.get(52)?];
    let flags = hex::<1>(value.get(53..55)?)?[0];
    let sampled = if flags & 1 == 1 { Sampled::Yes } else { Sampled::No };
    (dashes == [&b'-'; 3]).then_some((trace_id(value.get(3..35)?)?, span_id(value.get(36..52)?)?, sampled))
}

/// Several headers are one list. An entry that breaks the grammar makes the list invalid; the traceparent stands.
fn trace_state<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut entries: Vec<&str> = Vec::new();
    for value in values {
        for entry in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
            if !is_entry(entry) || entries.len() == TRACE_STATE_ENTRIES {
                return None;
            }
            entries.push(str::from_utf8(entry).ok()?);
        }
    }
    let joined_length = |entries: &[&str]| entries.iter().map(|entry| entry.len() + 1).sum::<usize>().saturating_sub(1);
    if joined_length(&entries) > TRACE_STATE_BYTES {
        entries.retain(|entry| entry.len() <= LONG_ENTRY_BYTES);
    }
    while joined_length(&entries) > TRACE_STATE_BYTES {
        entries.pop();
    }
    (!entries.is_empty()).then(|| entries.join(","))
}

/// `key=value`: a key of lower-case letters, digits and `_-*/@` that begins with one of the first two; a value of
/// printable characters without `,` and `=`.
fn is_entry(entry: &[u8]) -> bool {
    let Some(equals) = entry.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&entry[..equals], &entry[equals + 1..]);
    let key_byte = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let value_byte = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b',' | b'=');
    (1..=256).contains(&key.len())
        && key[0].is_ascii_alphanumeric()
        && key.iter().all(key_byte)
        && (1..=256).contains(&value.len())
        && value.iter().all(value_byte)
}

/// `b3: <trace>-<span>[-<sampling>[-<parent>]]`, or the sampling alone.
fn b3_single(request: &HttpRequest) -> Option<Context> {
    request.headers(Header::B3).find_map(|value| {
        let value = value.trim_ascii();
        if let Some(sampled) = b3_sampling(value) {
            return Some(Context::sampling_alone(sampled));
        }
        let mut fields = value.split(|byte| *byte == b'-');
        let parent = (b3_trace_id(fields.next()?)?, span_id(fields.next()?)?);
        let sampled = match fields.next() {
            None => Sampled::Undecided,
            Some(state) => b3_sampling(state)?,
        };
        if let Some(grandparent) = fields.next() {
            span_id(grandparent)?;
        }
        fields.next().is_none().then_some(Context { parent: Some(parent), sampled, trace_state: None })
    })
}

/// `X-B3-TraceId`, `-SpanId`, `-Sampled`, `-Flags`. Debug means sampled.
fn b3_several(request: &HttpRequest) -> Option<Context> {
    let value = |name| request.header(name).map(<[u8]>::trim_ascii);
    let sampled = match (value(Header::B3Flags), value(Header::B3Sampled)) {
        (Some(b"1"), _) => Sampled::Yes,
        // The words are what early implementations sent.
        (_, Some(b"1" | b"true")) => Sampled::Yes,
        (_, Some(b"0" | b"false")) => Sampled::No,
        _ => Sampled::Undecided,
    };
    let parent = value(Header::B3TraceId).and_then(b3_trace_id).zip(value(Header::B3SpanId).and_then(span_id));
    let said_something = parent.is_some() || sampled != Sampled::Undecided;
    said_something.then_some(Context { parent, sampled, trace_state: None })
}

fn b3_sampling(value: &[u8]) -> Option<Sampled> {
    match value {
        b"1" | b"d" => Some(Sampled::Yes),
        b"0" => Some(Sampled::No),
        _ => None,
    }
}

/// 64-bit ids are padded on the left.
fn b3_trace_id(value: &[u8]) -> Option<TraceId> {
    if value.len() == 16 {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&span_id(value)?.0);
        return Some(TraceId(id));
    }
    trace_id(value)
}

fn trace_id(value: &[u8]) -> Option<TraceId> {
    hex(value).filter(|id| *id != [0; 16]).map(TraceId)
}

fn span_id(value: &[u8]) -> Option<SpanId> {
    hex(value).filter(|id| *id != [0; 8]).map(SpanId)
}

/// Exactly `N` bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
