// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Random garbage harms nothing, and is never taken for HTTP/2; nor is TLS.

use std::vec::Vec;

use proptest::{collection::vec, prelude::*, sample::select};

use super::harness::{
    HEAD, HEADERS, LAST, Step, data, frame, get, preface, reset, run, run_forgetfully, settings, status, text,
};
use crate::{Direction, End, Recognition, recognise, recognise_inside};

/// Anything that may come, most of it like something that is understood.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let stream = select(&[0, 1, 2, 3, 5, 0x7fff_ffff, 0x8000_0001][..]);
    let well_formed = (stream.clone(), 0..6_u8).prop_map(|(stream, which)| match which {
        0 => get(stream, "/x"),
        1 => status(stream, "200", 0),
        2 => data(stream, "\0\0\0\0\x01a", 1),
        3 => reset(stream, 8),
        4 => settings(),
        _ => preface(),
    });
    let payload = vec(any::<u8>(), 0..40);
    let odd = (0..12_u8, any::<u8>(), stream, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    prop_oneof![4 => well_formed, 4 => odd, 1 => vec(any::<u8>(), 1..50)]
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![1..40_u64, any::<u64>()];
    let end = select(&[End::Finished, End::Reset, End::Abandoned][..]);
    prop_oneof![
        8 => bytes().prop_map(Step::Requests),
        8 => bytes().prop_map(Step::Responses),
        1 => length.clone().prop_map(Step::RequestsGap),
        1 => length.prop_map(Step::ResponsesGap),
        1 => end.clone().prop_map(Step::RequestsEnd),
        1 => end.prop_map(Step::ResponsesEnd),
    ]
}

/// A record of TLS, whatever is in it.
fn tls() -> impl Strategy<Value = Vec<u8>> {
    (20..24_u8, vec(any::<u8>(), 1..4000)).prop_map(|(kind, content)| {
        let length = (content.len() as u16).to_be_bytes();
        [&[kind, 3, 3, length[0], length[1]][..], &content].concat()
    })
}

/// Bytes as protocols that count in 32 bits send them: zeros, and small numbers.
fn binary() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![4 => 0..16_u32, 2 => 0..0x1_0000_u32, 1 => any::<u32>()];
    (any::<bool>(), vec(word, 1..400)).prop_map(|(big_endian, words)| {
        words.into_iter().flat_map(|word| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() }).collect()
    })
}

/// Heads that come again, with tables that change or stay between them.
fn repeating() -> impl Strategy<Value = Step> {
    const BLOCKS: [&[u8]; 8] = [
        b"\x82\x86\x04\x02/a",
        b"\x82\x86\xbe",
        b"\x82\x86\x44\x02/b",
        b"\x83\x86\xbe\x5f\x10application/grpc",
        b"\x83\x86\xbe\xbf",
        b"\x20\x82\x86\x04\x02/a",
        b"\x88\xbe",
        b"\x88\x40\x0bgrpc-status\x010",
    ];
    let flags = select(&[HEAD, HEAD | LAST][..]);
    (0..40_u32, select(&BLOCKS[..]), flags, any::<bool>()).prop_map(|(stream, block, flags, asks)| {
        let bytes = frame(HEADERS, flags, 2 * stream + 1, block);
        if asks { Step::Requests(bytes) } else { Step::Responses(bytes) }
    })
}

proptest! {
    #[test]
    fn a_block_that_comes_again_says_what_it_would_have_said(
        mut steps in vec(prop_oneof![4 => repeating(), 1 => step()], 0..60),
        joined_mid_stream in any::<bool>(),
    ) {
        if !joined_mid_stream {
            steps.insert(0, Step::Requests(preface()));
        }
        prop_assert_eq!(run(joined_mid_stream, &steps), run_forgetfully(joined_mid_stream, &steps));
    }

    /// `run` itself checks the order of the messages and the memory held.
    #[test]
    fn garbage_harms_nothing(steps in vec(step(), 0..60), joined_mid_stream in any::<bool>()) {
        run(joined_mid_stream, &steps);
    }

    /// However bytes without gaps are cut, they mean the same, from the beginning to where the place is lost.
    #[test]
    fn cuts_change_nothing(steps in vec(step(), 0..12), lengths in vec(1..9_usize, 1..4)) {
        let gapless: Vec<Step> = core::iter::once(Step::Requests(preface()))
            .chain(steps.into_iter().filter(|step| matches!(step, Step::Requests(_) | Step::Responses(_))))
            .collect();
        let whole = run(false, &gapless);
        prop_assume!(!text(&whole).contains("! malformed_frame"));
        let mut pieces = Vec::new();
        for step in &gapless {
            let (Step::Requests(bytes) | Step::Responses(bytes)) = step else { continue };
            let mut rest = &bytes[..];
            for length in lengths.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at(rest.len().min(*length));
                pieces.push(match step {
                    Step::Requests(_) => Step::Requests(piece.to_vec()),
                    _ => Step::Responses(piece.to_vec()),
                });
                rest = behind;
            }
        }
        prop_assert_eq!(run(false, &pieces), whole);
    }

    #[test]
    fn nothing_is_a_ghost(bytes in prop_oneof![vec(any::<u8>(), 0..4000), tls(), binary()]) {
        for recognition in [recognise(Direction::Sent, &bytes), recognise_inside(Direction::Sent, &bytes)] {
            let is_found = matches!(recognition, Recognition::Found { .. });
            prop_assert!(!is_found);
        }
        // Of bytes that are known to be HTTP/2 less proof is asked for; still nothing is told.
        prop_assert!(run(true, &[Step::Requests(bytes)]).messages.is_empty());
    }
}
