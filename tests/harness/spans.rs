// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Spans out of OTLP/JSON, as `--print otlp-json` writes it and as a collector's file exporter does.
//!
//! Strict about what the encoding demands (hexadecimal ids, 64-bit numbers as strings): a wrong line fails the test.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub type Attributes = BTreeMap<String, Value>;

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: String,
    pub span_id: String,
    /// Empty for a root.
    pub parent_span_id: String,
    pub name: String,
    /// `SERVER`, `CLIENT`, …
    pub kind: &'static str,
    pub start_unix_nanos: u64,
    pub end_unix_nanos: u64,
    pub is_error: bool,
    pub attributes: Attributes,
    pub resource: Arc<Attributes>,
}

impl Span {
    /// The attribute's text, where there is one and it is a text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).and_then(Value::as_str)
    }

    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.attributes.get(key).and_then(Value::as_i64)
    }

    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.resource.get("service.name").and_then(Value::as_str)
    }

    /// What was asked for, on either end: a client's is in its whole URL.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.text("url.path").or_else(|| {
            let (_, after) = self.text("url.full")?.split_once("://")?;
            after.find('/').map(|slash| &after[slash..])
        })
    }

    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nanos.saturating_sub(self.start_unix_nanos)
    }
}

/// The spans of one `TracesData`.
///
/// # Errors
///
/// The line is not OTLP/JSON.
pub fn parse_line(line: &str) -> Result<Vec<Span>> {
    let data: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    let mut spans = Vec::new();
    for of_resource in list(&data, "resourceSpans") {
        let resource = Arc::new(attributes(&of_resource["resource"])?);
        for of_scope in list(of_resource, "scopeSpans") {
            for span in list(of_scope, "spans") {
                spans.push(read_span(span, &resource).with_context(|| format!("in the span {span}"))?);
            }
        }
    }
    Ok(spans)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn read_span(span: &Value, resource: &Arc<Attributes>) -> Result<Span> {
    const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
    let id = |key: &str, digits: usize| {
        let id = span[key].as_str().unwrap_or_default();
        let is_hex = id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(is_hex, "{key} is not {digits} hexadecimal digits");
        Ok(id.to_ascii_lowercase())
    };
    Ok(Span {
        trace_id: id("traceId", 32)?,
        span_id: id("spanId", 16)?,
        parent_span_id: match span["parentSpanId"].as_str() {
            None | Some("") => String::new(),
            Some(_) => id("parentSpanId", 16)?,
        },
        name: span["name"].as_str().context("no name")?.to_owned(),
        kind: KINDS.get(span["kind"].as_u64().unwrap_or(0) as usize).copied().context("an unknown kind")?,
        start_unix_nanos: nanos(&span["startTimeUnixNano"]).context("startTimeUnixNano")?,
        end_unix_nanos: nanos(&span["endTimeUnixNano"]).context("endTimeUnixNano")?,
        is_error: span["status"]["code"].as_u64() == Some(2),
        attributes: attributes(span)?,
        resource: Arc::clone(resource),
    })
}

fn nanos(value: &Value) -> Result<u64> {
    Ok(value.as_str().context("64-bit numbers are strings in OTLP/JSON")?.parse()?)
}

fn attributes(owner: &Value) -> Result<Attributes> {
    let mut attributes = Attributes::new();
    for attribute in list(owner, "attributes") {
        let key = attribute["key"].as_str().context("an attribute without a key")?;
        let value = plain(&attribute["value"]).with_context(|| format!("the attribute {key}"))?;
        ensure!(attributes.insert(key.to_owned(), value).is_none(), "the attribute {key} is there twice");
    }
    Ok(attributes)
}

/// An OTLP `AnyValue` as plain JSON.
fn plain(value: &Value) -> Result<Value> {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return Ok(Value::Null) };
    Ok(match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" => inner.clone(),
        "intValue" => inner.as_str().context("64-bit numbers are strings in OTLP/JSON")?.parse::<i64>()?.into(),
        "arrayValue" => Value::Array(list(inner, "values").map(plain).collect::<Result<_>>()?),
        other => bail!("a value of the kind {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"GET",
        "kind":2,"startTimeUnixNano":"5","endTimeUnixNano":"9","status":{"code":2},
        "attributes":[{"key":"http.response.status_code","value":{"intValue":"503"}}]}]}]}]}"#;

    #[test]
    fn a_span_is_read() {
        let spans = parse_line(LINE).unwrap();
        assert_eq!(spans.len(), 1);
        let span = &spans[0];
        assert_eq!((span.name.as_str(), span.kind, span.is_error), ("GET", "SERVER", true));
        assert_eq!(span.integer("http.response.status_code"), Some(503));
        assert_eq!((span.service(), span.duration_nanos()), (Some("shop"), 4));
    }

    #[test]
    fn what_the_encoding_forbids_is_refused() {
        for (right, wrong) in [("\"5\"", "5"), ("\"503\"", "503"), ("00f067aa0ba902b7", "APBnqgupArc=")] {
            assert!(parse_line(&LINE.replace(right, wrong)).is_err(), "{wrong}");
        }
    }
}
