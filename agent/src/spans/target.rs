// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The target of an HTTP request, in its four forms (RFC 9112 section 3.2).
//!
//! In: the bytes of the target, or of a Host header. Out: the parts of it, as sent.
//! Does not: decode, normalise or redact anything; what fits no form is taken for a path.

/// What a target says; all borrowed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// The whole of it, where it is a URL.
    pub absolute: Option<&'a [u8]>,
    /// Absent for CONNECT. `*` where the server as a whole is meant.
    pub path: Option<&'a [u8]>,
    /// Without the question mark.
    pub query: Option<&'a [u8]>,
    /// Where it names one, that stands above the Host header (section 3.2.2).
    pub authority: Option<Authority<'a>>,
}

impl<'a> Target<'a> {
    #[must_use]
    pub fn parse(method: &[u8], target: &'a [u8]) -> Self {
        if method == b"CONNECT" {
            return Self { authority: Authority::parse(target), ..Self::default() };
        }
        if target.first() != Some(&b'/')
            && let Some(rest) = after_scheme(target)
        {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(end);
            let (path, query) = split_query(rest);
            let path = if path.is_empty() { b"/" } else { path };
            let authority = Authority::parse(authority);
            return Self { absolute: Some(target), path: Some(path), query, authority };
        }
        let (path, query) = split_query(target);
        Self { path: Some(path), query, ..Self::default() }
    }
}

/// What follows `scheme://`.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let grammatical = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (scheme.first()?.is_ascii_alphabetic() && scheme.iter().all(grammatical)).then(|| rest.strip_prefix(b"://"))?
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// `host[:port]`, with any credentials before it stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    pub whole: &'a [u8],
    /// IPv6 addresses without their brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let whole = match text.iter().rposition(|byte| *byte == b'@') {
            Some(at) => &text[at + 1..],
            None => text,
        };
        let (host, rest) = match whole.strip_prefix(b"[") {
            Some(inside) => {
                let end = inside.iter().position(|byte| *byte == b']')?;
                (&inside[..end], &inside[end + 1..])
            }
            None => whole.split_at(whole.iter().position(|byte| *byte == b':').unwrap_or(whole.len())),
        };
        let port = rest.strip_prefix(b":").and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        (!host.is_empty()).then_some(Self { whole, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, target: &str, path: Option<&str>, query: Option<&str>, host: Option<(&str, Option<u16>)>) {
        let parsed = Target::parse(method.as_bytes(), target.as_bytes());
        assert_eq!(parsed.path, path.map(str::as_bytes), "path of {target}");
        assert_eq!(parsed.query, query.map(str::as_bytes), "query of {target}");
        let found = parsed.authority.map(|authority| (authority.host, authority.port));
        assert_eq!(found, host.map(|(host, port)| (host.as_bytes(), port)), "authority of {target}");
    }

    #[test]
    fn the_four_forms() {
        check("GET", "/", Some("/"), None, None);
        check("GET", "/a?b=c?d", Some("/a"), Some("b=c?d"), None);
        check("GET", "/?", Some("/"), Some(""), None);
        check("GET", "/login?next=http://b/", Some("/login"), Some("next=http://b/"), None);
        check("GET", "//a/b", Some("//a/b"), None, None);
        check("GET", "http://a.b:81/c?d", Some("/c"), Some("d"), Some(("a.b", Some(81))));
        check("GET", "http://a", Some("/"), None, Some(("a", None)));
        check("GET", "http://a?b", Some("/"), Some("b"), Some(("a", None)));
        check("GET", "http://user:pass@[::1]:8080/", Some("/"), None, Some(("::1", Some(8080))));
        check("OPTIONS", "*", Some("*"), None, None);
        check("CONNECT", "a.b:443", None, None, Some(("a.b", Some(443))));
        check("CONNECT", "[2001:db8::1]:443", None, None, Some(("2001:db8::1", Some(443))));
        check("GET", "noslash", Some("noslash"), None, None);
        check("GET", "a:b", Some("a:b"), None, None);
        check("GET", "", Some(""), None, None);
    }

    #[test]
    fn hosts() {
        let check = |text: &str, expected: Option<(&str, Option<u16>)>| {
            let found = Authority::parse(text.as_bytes()).map(|found| (found.host, found.port));
            assert_eq!(found, expected.map(|(host, port)| (host.as_bytes(), port)), "{text}");
        };
        check("a", Some(("a", None)));
        check(" a:80 ", Some(("a", Some(80))));
        check("a:", Some(("a", None)));
        check("a:99999", Some(("a", None)));
        check("[::1]", Some(("::1", None)));
        check("[::1", None);
        check("", None);
        check(":80", None);
    }
}
