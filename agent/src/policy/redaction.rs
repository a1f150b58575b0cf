// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Redaction of what is known to be secret in URLs; always on.
//!
//! In: a span. Out: the same span, without
//! - credentials before a host: `user:pass@` becomes `REDACTED:REDACTED@` in `url.full`;
//! - the values of the parameters in [`SECRET_PARAMETERS`], in `url.query` and `url.full`, whatever the case of their
//!   names and however these are percent-encoded: the name stays, the value becomes `REDACTED`;
//! - session ids in paths (`;jsessionid=…`), in `url.path` and `url.full`.
//!
//! Does not: recognise secrets by what they look like, nor those in other parts of a path. Bias: a harmless parameter
//! with one of these names loses its value; that is preferred to a secret that leaves.

use std::{borrow::Cow, sync::Arc};

use crate::spans::{Attribute, Span, Value};

/// In lower case. The first lines are those of the semantic conventions (`url.full`, `url.query`) and their kin of the
/// same clouds; the rest is what frameworks and OAuth (RFC 6749, RFC 6750) put into URLs.
const SECRET_PARAMETERS: [&str; 43] = [
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-goog-signature",
    "x-goog-credential",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "token",
    "access_token",
    "accesstoken",
    "refresh_token",
    "id_token",
    "auth_token",
    "authtoken",
    "csrf_token",
    "xsrf_token",
    "x-api-key",
    "api_key",
    "apikey",
    "api-key",
    "apitoken",
    "api_token",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "client_secret",
    "private_key",
    "code",
    "code_verifier",
    "assertion",
    "client_assertion",
    "session",
    "sessionid",
    "session_id",
    "sid",
];

/// Parameters inside a path segment (RFC 3986 section 3.3) that carry a session.
const SECRET_SEGMENT_PARAMETERS: [&str; 3] = ["jsessionid", "phpsessid", "sid"];

/// Longer names are none of the list's, even with every character percent-encoded.
const LONGEST_NAME_BYTES: usize = 3 * 24;

const REDACTED: &str = "REDACTED";

pub fn redact(span: &mut Span) {
    if let Some(standing) = &mut span.standing
        && let Some(released) = standing.released(redact_attributes)
    {
        *standing = Arc::clone(released);
    }
    redact_attributes(&mut span.attributes);
}

/// True where anything was secret.
fn redact_attributes(attributes: &mut [Attribute]) -> bool {
    let mut any = false;
    for attribute in attributes {
        let Value::Text(text) = &mut attribute.value else { continue };
        let redacted = match attribute.key {
            "url.full" => url(text),
            "url.query" => query(text),
            "url.path" => path(text),
            _ => continue,
        };
        if let Cow::Owned(redacted) = redacted {
            *text = Cow::Owned(redacted);
            any = true;
        }
    }
    any
}

/// Borrowed where nothing was secret, and so are the parts below.
fn url(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
    let (scheme, authority, rest) = (&text[..start], &text[start..end], &text[end..]);
    let fragment = rest.find('#').unwrap_or(rest.len());
    let (rest, fragment) = rest.split_at(fragment);
    let (before, after) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
    let authority = match authority.rfind('@') {
        Some(at) if authority[..at].contains(':') => Cow::Owned(format!("REDACTED:REDACTED{}", &authority[at..])),
        Some(at) => Cow::Owned(format!("REDACTED{}", &authority[at..])),
        None => Cow::Borrowed(authority),
    };
    // A fragment has the form of a query where OAuth puts tokens into it.
    let parts = [authority, path(before), after_mark(after), after_mark(fragment)];
    if parts.iter().all(|part| matches!(part, Cow::Borrowed(_))) {
        return Cow::Borrowed(text);
    }
    Cow::Owned([scheme, &parts.concat()].concat())
}

/// A query or a fragment with its mark in front, or nothing.
fn after_mark(text: &str) -> Cow<'_, str> {
    match text.split_at_checked(1).map(|(mark, rest)| (mark, query(rest))) {
        Some((mark, Cow::Owned(redacted))) => Cow::Owned([mark, &redacted].concat()),
        _ => Cow::Borrowed(text),
    }
}

fn query(text: &str) -> Cow<'_, str> {
    replace_values(text, &['&', ';'], &SECRET_PARAMETERS)
}

fn path(text: &str) -> Cow<'_, str> {
    replace_values(text, &['/', ';'], &SECRET_SEGMENT_PARAMETERS)
}

/// Replaces the values of the `name=value` between separators whose names are listed.
fn replace_values<'a>(text: &'a str, separators: &[char], names: &[&str]) -> Cow<'a, str> {
    if !text.as_bytes().contains(&b'=') {
        return Cow::Borrowed(text);
    }
    let mut redacted = String::new();
    let mut kept = 0;
    let mut at = 0;
    for parameter in text.split(separators) {
        if let Some((name, value)) = parameter.split_once('=')
            && !value.is_empty()
            && is_listed(name, names)
        {
            let value_at = at + name.len() + 1;
            redacted.push_str(&text[kept..value_at]);
            redacted.push_str(REDACTED);
            kept = value_at + value.len();
        }
        // Separators are one byte each.
        at += parameter.len() + 1;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    redacted.push_str(&text[kept..]);
    Cow::Owned(redacted)
}

fn is_listed(name: &str, names: &[&str]) -> bool {
    if name.len() > LONGEST_NAME_BYTES {
        return false;
    }
    if !name.contains('%') {
        return names.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    }
    let decoded = percent_decoded(name.as_bytes());
    names.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(&decoded))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| after.split_at_checked(2))
            .flatten()
            .and_then(|(digits, after)| Some((u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?, after)));
        let (byte, after) = escaped.unwrap_or((byte, after));
        decoded.push(byte);
        rest = after;
    }
    decoded
}
