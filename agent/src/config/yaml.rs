// SPDX-License-Identifier: Apache-2.0 OR MIT
//! YAML text in, a tree out in which every node knows its place. Scalars stay text: options give them their meaning, so
//! that `service_name: no` is the name "no".
//!
//! Built on the events of `saphyr-parser`; `docs/adr/0004-yaml.md` says why. One document; a key that is there twice is a
//! problem; aliases are copies, within the limits below. Tags and merge keys (`<<`) are not interpreted.

use std::{collections::HashMap, path::Path};

use saphyr_parser::{Event, Parser, Span};

use super::problem::{Place, Problem};

/// Nesting. Larger: a hostile file may use up the stack. Smaller: nothing that Onlooker reads is deeper than five.
const DEPTH_LIMIT: usize = 32;
/// Nodes, copies by alias included. Larger: a few lines of aliases of aliases may fill memory. Smaller: long lists of
/// selectors are refused.
const NODE_LIMIT: usize = 100_000;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Content {
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Text(_) => "a single value",
            Self::List(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

impl Node {
    fn nodes(&self) -> usize {
        1 + match &self.content {
            Content::Text(_) => 0,
            Content::List(items) => items.iter().map(Self::nodes).sum(),
            Content::Mapping(entries) => entries.iter().map(|entry| entry.value.nodes()).sum(),
        }
    }
}

/// The file's entries; an empty file has none. The first thing that is wrong ends the reading.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Vec<Entry>, Box<Problem>> {
    let mut reader = Reader { file, events: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_), _) => {}
            (Event::StreamEnd, _) => return Ok(Vec::new()),
            (event, span) => {
                let root = reader.node(event, span, 0)?;
                reader.expect_end()?;
                return match root.content {
                    Content::Mapping(entries) => Ok(entries),
                    Content::Text(text) if text.is_empty() || text == "~" || text == "null" => Ok(Vec::new()),
                    content => Err(Box::new(Problem::WrongShape {
                        place: root.place,
                        key: "the file".to_owned(),
                        expected: "a mapping",
                        found: content.what(),
                    })),
                };
            }
        }
    }
}

struct Reader<'a> {
    file: &'a Path,
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Finished nodes that have an anchor, by the parser's number of it.
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn place(&self, span: Span) -> Place {
        Place { file: self.file.to_owned(), line: span.start.line(), column: span.start.col() + 1 }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Box<Problem>> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Box::new(Problem::NotYaml {
                place: self.place(Span::new(*error.marker(), *error.marker())),
                reason: error.info().to_owned(),
            })),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn expect_end(&mut self) -> Result<(), Box<Problem>> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    return Err(Box::new(Problem::TooMuchYaml {
                        place: self.place(span),
                        limit: "a second document is not read",
                    }));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Box<Problem>> {
        let place = self.place(span);
        self.nodes += 1;
        if depth > DEPTH_LIMIT || self.nodes > NODE_LIMIT {
            return Err(Box::new(Problem::TooMuchYaml { place, limit: "the file is too deep or too large" }));
        }
        let (content, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => (Content::Text(text.into_owned()), anchor),
            Event::SequenceStart(anchor, _) => (Content::List(self.list(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Content::Mapping(self.mapping(depth)?), anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Box::new(Problem::TooMuchYaml {
                        place,
                        limit: "an alias inside its own anchor is not read",
                    }));
                };
                self.nodes += node.nodes();
                return Ok(node);
            }
            _ => return Err(Box::new(Problem::TooMuchYaml { place, limit: "the document ends in the middle" })),
        };
        let node = Node { place, content };
        // The parser numbers anchors from 1; 0 is none.
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, Box<Problem>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(event, span, depth + 1)?;
            let Content::Text(name) = key.content else {
                return Err(Box::new(Problem::WrongShape {
                    place: key.place,
                    key: "a key".to_owned(),
                    expected: "a single value",
                    found: key.content.what(),
                }));
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == name) {
                let first_line = first.place.line;
                return Err(Box::new(Problem::DuplicateKey { place: key.place, key: name, first_line }));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key: name, place: key.place, value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.content {
            Content::Text(text) => text.clone(),
            Content::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
            Content::Mapping(entries) => format!("{{{}}}", show_entries(entries)),
        }
    }

    fn show_entries(entries: &[Entry]) -> String {
        let entry =
            |entry: &Entry| format!("{}@{}:{}={}", entry.key, entry.place.line, entry.place.column, show(&entry.value));
        entries.iter().map(entry).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_become_trees_with_places() {
        for (text, expected) in [
            ("", ""),
            ("# only a comment\n", ""),
            ("~", ""),
            ("---\na: 1\n...\n", "a@2:1=1"),
            ("a: no\nb:\n  c: [1, 2]\n", "a@1:1=no b@2:1={c@3:3=[1 2]}"),
            ("a: &x {b: 1}\nc: *x\n", "a@1:1={b@1:8=1} c@2:1={b@1:8=1}"),
            ("a:\n", "a@1:1="),
            ("a: ~", "a@1:1=~"),
        ] {
            assert_eq!(show_entries(&parse(Path::new("f"), text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("- a\n", "f:1:1: `the file` takes a mapping, and this is a list"),
            ("a: 1\nb: 2\na: 3\n", "f:3:1: the key `a` is there twice; the first is on line 1"),
            ("[a]: 1\n", "f:1:1: `a key` takes a single value, and this is a list"),
            ("a: 1\n---\nb: 1\n", "f:2:1: a second document is not read"),
            ("a: &x [*x]\n", "f:1:8: an alias inside its own anchor is not read"),
        ] {
            assert_eq!(parse(Path::new("f"), text).unwrap_err().to_string(), expected, "{text}");
        }
        let broken = parse(Path::new("f"), "a: [1\nb: 2\n").unwrap_err().to_string();
        assert!(broken.starts_with("f:2:") && broken.contains("this is not YAML"), "{broken}");
    }

    fn is_refused(text: &str) -> bool {
        let problem = parse(Path::new("f"), text).map_err(|problem| *problem);
        matches!(problem, Err(Problem::TooMuchYaml { .. } | Problem::NotYaml { .. }))
    }

    #[test]
    fn hostile_files_are_refused_quickly() {
        let deep = format!("a: {}{}", "[".repeat(5000), "]".repeat(5000));
        assert!(is_refused(&deep));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let copies = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{copies}]\n"));
        }
        assert!(is_refused(&bomb));
    }
}
