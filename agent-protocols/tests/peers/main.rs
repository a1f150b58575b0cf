// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What an independent implementation of HTTP/2 says to itself comes out as it went in: whole, however it is cut, with
//! gaps inside DATA, and from wherever the connection is joined.
//!
//! In: random exchanges, spoken by the `h2` crate over a pipe in memory. Out: a failed assertion, with the exchanges.

mod conversation;
mod reading;

use std::ops::Range;

use agent_protocols::Direction;
use proptest::{collection::vec, prelude::*, sample::select};

use conversation::{Ending, Exchange, Recorded, converse};
use reading::{Read, Told, read};

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = select(&["GET", "POST", "DELETE", "PURGE"][..]);
    let ending = select(&[Ending::Answered, Ending::Answered, Ending::Trailers, Ending::ResetByServer][..]);
    let sizes = || vec(prop_oneof![3 => 0..200_usize, 1 => 0..40_000_usize], 0..4);
    let status = select(&[200, 204, 201, 404, 503][..]);
    // Few and many different values: some of them come from the table, some push others out of it.
    let field = prop_oneof![0..4_u32, any::<u32>()];
    (method, field, sizes(), status, sizes(), ending).prop_map(|(method, field, request, status, response, ending)| {
        Exchange { method, field, request, status, response, ending }
    })
}

/// What must be told of an exchange.
fn expected(number: usize, exchange: &Exchange) -> Told {
    let is_reset = exchange.ending == Ending::ResetByServer;
    Told {
        method: exchange.method.into(),
        path: format!("/{number}?f={}", exchange.field),
        field: Some(exchange.field.to_string()),
        request_bytes: Some(exchange.request.iter().sum()),
        // A reset overtakes what waits to be sent, even the head.
        status: (!is_reset).then_some(exchange.status),
        // What had been sent before the reset is told by no end.
        response_bytes: (!is_reset).then(|| exchange.response.iter().sum()),
        broken: is_reset.then_some("INTERNAL_ERROR"),
        is_unknown: false,
    }
}

fn check_whole(exchanges: &[Exchange], recorded: &[Recorded]) -> Result<Vec<Read>, TestCaseError> {
    let (mut told, problems) = read(false, recorded);
    prop_assert_eq!(problems, Vec::new());
    told.sort_by_key(|read| read.told.number());
    for Read { told, .. } in &mut told {
        told.status = told.status.filter(|_| told.broken.is_none());
    }
    let known: Vec<Told> = told.iter().map(|read| read.told.clone()).collect();
    let due: Vec<Told> = exchanges.iter().enumerate().map(|(number, exchange)| expected(number, exchange)).collect();
    prop_assert_eq!(known, due);
    Ok(told)
}

/// Cuts every piece into pieces of these lengths, over and over.
fn cut(recorded: &[Recorded], lengths: &[usize]) -> Vec<Recorded> {
    let mut lengths = lengths.iter().cycle();
    let mut pieces = Vec::new();
    for piece in recorded {
        let mut rest = &piece.bytes[..];
        while !rest.is_empty() {
            let length = lengths.next().map_or(rest.len(), |length| rest.len().min(*length));
            pieces.push(Recorded::bytes(piece.direction, &rest[..length]));
            rest = &rest[length..];
        }
    }
    pieces
}

/// The payloads of the DATA frames of a direction, as they lie in it.
fn data_payloads(recorded: &[Recorded], direction: Direction) -> Vec<Range<usize>> {
    let all: Vec<u8> =
        recorded.iter().filter(|piece| piece.direction == direction).flat_map(|piece| piece.bytes.clone()).collect();
    let mut at = if direction == conversation::REQUESTS { conversation::PREFACE_BYTES } else { 0 };
    let mut payloads = Vec::new();
    while let Some(header) = all.get(at..at + 9) {
        let begin = at + 9;
        at = begin + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        if header[3] == 0 && at > begin {
            payloads.push(begin..at);
        }
    }
    payloads
}

/// Takes parts of DATA payloads away. `which` chooses a payload, `from` and `length` the part of it.
fn lose(recorded: &[Recorded], losses: &[(usize, usize, usize)], direction: Direction) -> Vec<Recorded> {
    let payloads = data_payloads(recorded, direction);
    let mut lost: Vec<Range<usize>> = Vec::new();
    for (which, from, length) in losses {
        let Some(payload) = payloads.get(which % payloads.len().max(1)) else { continue };
        let begin = payload.start + from % payload.len();
        lost.push(begin..payload.end.min(begin + length));
    }
    let (mut pieces, mut at) = (Vec::new(), 0);
    for piece in recorded {
        if piece.direction != direction {
            pieces.push(piece.clone());
            continue;
        }
        // Byte by byte, so that overlapping losses need no thought; what stays together is put together again.
        for byte in &piece.bytes {
            let is_lost = lost.iter().any(|range| range.contains(&at));
            at += 1;
            let last = pieces.last_mut().filter(|last: &&mut Recorded| last.direction == direction);
            match (is_lost, last) {
                (true, Some(Recorded { gap, .. })) if *gap > 0 => *gap += 1,
                (true, _) => pieces.push(Recorded::gap(direction, 1)),
                (false, Some(Recorded { bytes, gap: 0, .. })) => bytes.push(*byte),
                (false, _) => pieces.push(Recorded::bytes(direction, &[*byte])),
            }
        }
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_said_is_told(exchanges in vec(exchange(), 1..20), lengths in vec(1..2000_usize, 1..6)) {
        let recorded = converse(&exchanges);
        let whole = check_whole(&exchanges, &recorded)?;
        prop_assert_eq!(check_whole(&exchanges, &cut(&recorded, &lengths))?, whole);
    }

    #[test]
    fn a_gap_inside_data_changes_nothing(
        exchanges in vec(exchange(), 1..12),
        losses in vec((any::<usize>(), any::<usize>(), 1..5000_usize), 1..6),
        of_requests in any::<bool>(),
    ) {
        let recorded = converse(&exchanges);
        let direction = if of_requests { conversation::REQUESTS } else { conversation::REQUESTS.opposite() };
        check_whole(&exchanges, &lose(&recorded, &losses, direction))?;
    }

    /// Every request that begins after the joining is there, and nothing that is told of it is wrong.
    #[test]
    fn joined_anywhere(exchanges in vec(exchange(), 1..16), piece in any::<usize>(), offset in any::<usize>()) {
        let recorded = converse(&exchanges);
        let whole = check_whole(&exchanges, &recorded)?;
        let index = piece % recorded.len();
        let first = &recorded[index];
        let mut rest = recorded[index..].to_vec();
        rest[0].bytes.drain(..offset % first.bytes.len());
        let joined_at: usize = recorded[..index].iter().map(|piece| piece.bytes.len()).sum();
        let joined_at = joined_at + offset % first.bytes.len();
        let (told, _) = read(true, &rest);
        for due in whole.iter().filter(|due| due.begin >= joined_at) {
            let found = told.iter().find(|read| read.begin + joined_at == due.begin);
            let Some(found) = found else { panic!("{due:?} is missing, joined at {joined_at} of piece {index}") };
            let is_right = found.told.agrees_with(&due.told);
            prop_assert!(is_right, "{found:?} is not {due:?}, joined at {joined_at}");
        }
        for read in &told {
            let due = whole.iter().find(|due| due.begin == read.begin + joined_at);
            prop_assert!(due.is_some(), "{read:?} is a ghost");
        }
    }
}
