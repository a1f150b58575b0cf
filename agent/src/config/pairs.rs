// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lists of `name=value` pairs, as `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES` carry them: separated by
//! commas, values percent-encoded (W3C Baggage without properties).
//!
//! A refusal names the pair by its number only: values may be secrets.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::values::Refusal;

type Pairs = Vec<(String, String)>;

pub(super) fn attributes(text: &str) -> Result<Pairs, Refusal> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.zip(1..).map(|(part, number)| pair(part).ok_or(Refusal::NotAPair { number })).collect()
}

/// Header names are lower-case, as HTTP/2 demands.
pub(super) fn headers(text: &str) -> Result<Pairs, Refusal> {
    let mut pairs = attributes(text)?;
    for ((name, value), number) in pairs.iter_mut().zip(1..) {
        name.make_ascii_lowercase();
        let is_name = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        if !is_name || http::HeaderValue::from_str(value).is_err() {
            return Err(Refusal::NotAHeader { number });
        }
    }
    Ok(pairs)
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let decode = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    Some((decode(name).filter(|name| !name.is_empty())?, decode(value)?))
}

/// What would end a pair or be decoded.
const RESERVED: &AsciiSet = &CONTROLS.add(b',').add(b'=').add(b'%').add(b' ').add(b'"').add(b';').add(b'\\');

/// The pair as the variables write it.
pub(super) fn encoded(name: &str, value: &str) -> String {
    format!("{}={}", utf8_percent_encode(name, RESERVED), utf8_percent_encode(value, RESERVED))
}

/// The names alone, with stars for the values.
pub(super) fn masked(text: &str) -> String {
    let names = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let masked: Vec<String> = names
        .map(|part| part.split_once('=').map_or_else(|| "***".to_owned(), |(name, _)| format!("{}=***", name.trim())))
        .collect();
    masked.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(pairs: &[(&str, &str)]) -> Pairs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_are_trimmed_and_decoded() {
        for (text, expected) in [
            ("a=b", &[("a", "b")][..]),
            (" a = b , c=d,", &[("a", "b"), ("c", "d")]),
            ("key=a%2Cb%20c", &[("key", "a,b c")]),
            ("key=x=y==", &[("key", "x=y==")]),
            ("empty=", &[("empty", "")]),
            ("", &[]),
        ] {
            assert_eq!(attributes(text).unwrap(), owned(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_pair_is_named_by_number() {
        assert_eq!(attributes("a=b,c"), Err(Refusal::NotAPair { number: 2 }));
        assert_eq!(attributes("=b"), Err(Refusal::NotAPair { number: 1 }));
        assert_eq!(attributes("a=%ff"), Err(Refusal::NotAPair { number: 1 }));
        assert_eq!(headers("a b=c"), Err(Refusal::NotAHeader { number: 1 }));
        assert_eq!(headers("a=b,c=x%0ay"), Err(Refusal::NotAHeader { number: 2 }));
    }

    #[test]
    fn header_names_are_lower_case() {
        assert_eq!(headers("Authorization=Basic%20YQ==").unwrap(), owned(&[("authorization", "Basic YQ==")]));
    }

    #[test]
    fn encoding_is_undone_by_reading() {
        for (name, value) in [("a", "b,c=d %\\\""), ("n,m", "ü;x")] {
            assert_eq!(attributes(&encoded(name, value)).unwrap(), owned(&[(name, value)]));
        }
    }

    #[test]
    fn masking_leaves_no_value() {
        assert_eq!(masked("a=secret, b=secret,secret"), "a=***,b=***,***");
    }
}
