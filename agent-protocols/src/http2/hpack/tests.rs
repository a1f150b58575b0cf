// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The vectors of RFC 7541 appendix C; blocks that are wrong; blocks that were joined late.

use std::{string::String, vec::Vec};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The fields that are kept of it, one after the other.
fn text(list: &FieldList) -> String {
    let fields = [Field::Method, Field::Scheme, Field::Path, Field::Authority, Field::Status];
    let known = fields.iter().filter_map(|field| list.get(*field));
    let mut words: Vec<String> = known.map(|value| String::from_utf8_lossy(value).into_owned()).collect();
    let request = list.request();
    words.extend(request.has_unknown_fields.then(|| "?".into()));
    words.join(" ")
}

/// Decodes blocks in order; each gives the fields that are kept, and the table's size.
fn check(decoder: &mut Decoder, blocks: &[(&str, &str, u32)]) {
    let mut list = FieldList::default();
    for (block, fields, table_bytes) in blocks {
        assert_eq!(decoder.decode(&bytes(block), &mut list), Ok(()), "{block}");
        assert_eq!((&*text(&list), decoder.window.size()), (*fields, *table_bytes), "{block}");
    }
}

#[test]
fn appendix_c_2_single_fields() {
    for (block, fields, table_bytes) in [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "", 55),
        ("040c 2f73 616d 706c 652f 7061 7468", "/sample/path", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "", 0),
        ("82", "GET", 0),
    ] {
        check(&mut Decoder::new(false), &[(block, fields, table_bytes)]);
    }
}

#[test]
fn appendix_c_3_requests() {
    check(
        &mut Decoder::new(false),
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "GET http / www.example.com", 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", "GET http / www.example.com", 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                "GET https /index.html www.example.com",
                164,
            ),
        ],
    );
}

#[test]
fn appendix_c_4_requests_with_huffman() {
    check(
        &mut Decoder::new(false),
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "GET http / www.example.com", 57),
            ("8286 84be 5886 a8eb 1064 9cbf", "GET http / www.example.com", 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                "GET https /index.html www.example.com",
                164,
            ),
        ],
    );
}

#[test]
fn appendix_c_5_responses_with_eviction() {
    let mut decoder = Decoder::new(false);
    decoder.window.resize(256);
    check(
        &mut decoder,
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
                 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
                 6c65 2e63 6f6d",
                "302",
                222,
            ),
            ("4803 3330 37c1 c0bf", "307", 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
                 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
                 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
                 3d31",
                "200",
                215,
            ),
        ],
    );
}

#[test]
fn appendix_c_6_responses_with_huffman_and_eviction() {
    let mut decoder = Decoder::new(false);
    decoder.window.resize(256);
    check(
        &mut decoder,
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
                 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                "302",
                222,
            ),
            ("4883 640e ffc1 c0bf", "307", 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
                 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
                 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                "200",
                215,
            ),
        ],
    );
}

#[test]
fn wrong_blocks() {
    for block in [
        "80",                   // index 0
        "be",                   // an entry that was never there
        "7e 01 61",             // the same for a name
        "00 05 61",             // a name that is cut short
        "00 01 61",             // no value
        "ff ff ff ff ff ff 0f", // an integer without measure
        "82 20",                // a size behind a field
        "3f e2 1f",             // 4097, more than is allowed
        "04 81 00",             // padding that is no padding
    ] {
        assert_eq!(Decoder::new(false).decode(&bytes(block), &mut FieldList::default()), Err(Malformed), "{block}");
    }
}

#[test]
fn after_a_wrong_block_older_entries_are_not_believed() {
    let mut decoder = Decoder::new(false);
    check(&mut decoder, &[("41 01 61", "a", 43)]);
    assert_eq!(decoder.decode(&bytes("be 80"), &mut FieldList::default()), Err(Malformed));
    check(&mut decoder, &[("82 be", "GET ?", 0), ("41 01 62", "b", 43), ("be", "b", 43), ("bf", "?", 43)]);
}

#[test]
fn joined_late_indices_count_from_the_newest() {
    let mut decoder = Decoder::new(true);
    check(
        &mut decoder,
        &[
            ("82 be", "GET ?", 0),
            ("44 02 2f 61", "/a", 39),
            ("82 bf be", "GET /a ?", 39),
            // A value whose name is not known counts; it takes its place, and is not known.
            ("7f 00 03 61 62 63", "?", 74),
            ("82 bf be", "GET /a ?", 74),
            // An emptied table has nothing unknown left.
            ("20 3f e1 1f 44 02 2f 62", "/b", 39),
        ],
    );
    assert_eq!(decoder.decode(&bytes("bf"), &mut FieldList::default()), Err(Malformed));
}

#[test]
fn a_larger_table_has_to_be_allowed() {
    let mut decoder = Decoder::new(false);
    let resize = bytes("3f e1 3f");
    assert_eq!(decoder.decode(&resize, &mut FieldList::default()), Err(Malformed));
    decoder.allow(8192);
    assert_eq!(decoder.decode(&resize, &mut FieldList::default()), Ok(()));
}
