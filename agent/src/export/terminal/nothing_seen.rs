// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a person is told who has started Onlooker and sees nothing: facts in, text out.

use std::fmt::Write as _;

use super::{draw::count, words::harmless};

/// Processes listed. More: the advice scrolls away. Fewer: the one that is looked for is not among them.
const LISTED: usize = 10;

/// What is known of the run so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    pub seconds_without_spans: u64,
    /// `syscall`.
    pub backend: String,
    pub hooks_attached: usize,
    /// What does not work here, each with the reason; a sentence each.
    pub shortcomings: Vec<String>,
    pub watched: Vec<Listener>,
    pub not_watched: Vec<NotWatched>,
    /// Bytes of a watched process were read, though no request was in them.
    pub has_seen_bytes: bool,
}

/// A process, and the ports that it listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub pid: u32,
    pub executable: String,
    pub ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotWatched {
    pub process: Listener,
    /// `not selected by --open-port 8000-8999`
    pub reason: String,
}

#[must_use]
pub fn nothing_seen(situation: &Situation) -> String {
    let Situation { seconds_without_spans, backend, hooks_attached, .. } = situation;
    let mut text = format!("No request has been seen for {seconds_without_spans} s.\n");
    let _ = writeln!(text, "  attached     {} by the {backend} backend", count(*hooks_attached, "hook"));
    for shortcoming in &situation.shortcomings {
        let _ = writeln!(text, "               {}", harmless(shortcoming));
    }
    let watched = situation.watched.iter().map(|process| (process, ""));
    push_processes(&mut text, "watched", watched);
    let not_watched = situation.not_watched.iter().map(|process| (&process.process, process.reason.as_str()));
    push_processes(&mut text, "not watched", not_watched);
    for (advice, label) in advice(situation).iter().zip(["try"].into_iter().chain(std::iter::repeat(""))) {
        let _ = writeln!(text, "  {label:<11}  {advice}");
    }
    text.push('\n');
    text
}

fn push_processes<'a>(
    text: &mut String,
    label: &str,
    processes: impl ExactSizeIterator<Item = (&'a Listener, &'a str)>,
) {
    let rest = processes.len().saturating_sub(LISTED);
    if processes.len() == 0 {
        let _ = writeln!(text, "  {label:<11}  nothing");
    }
    for (index, (process, reason)) in processes.take(LISTED).enumerate() {
        let label = if index == 0 { label } else { "" };
        let ports: Vec<String> = process.ports.iter().map(u16::to_string).collect();
        let ports = match ports.as_slice() {
            [] => "listens on nothing".to_owned(),
            [port] => format!("port {port}"),
            ports => format!("ports {}", ports.join(", ")),
        };
        let executable = harmless(&process.executable);
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", harmless(reason)) };
        let _ = writeln!(text, "  {label:<11}  {:>7} {executable}, {ports}{reason}", process.pid);
    }
    if rest > 0 {
        let _ = writeln!(text, "               … and {rest} more");
    }
}

/// The likeliest cause first.
fn advice(situation: &Situation) -> Vec<String> {
    let mut advice = Vec::new();
    let port = situation.watched.iter().flat_map(|process| &process.ports).next();
    match (situation.watched.is_empty(), port) {
        (true, _) if situation.not_watched.is_empty() => {
            advice.push("start the program that is to be watched: nothing here listens".to_owned());
        }
        (true, _) => advice.push("--open-port PORT or --pid PID of the one that you mean".to_owned()),
        (false, _) if situation.has_seen_bytes => {
            advice.push("bytes came, but no HTTP request: TLS and other protocols are not read".to_owned());
        }
        (false, Some(port)) => advice.push(format!("send it a request: curl http://localhost:{port}/")),
        (false, None) => advice.push("let the watched processes make or take a request".to_owned()),
    }
    advice.push("onlooker doctor says what this machine allows".to_owned());
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(pid: u32, executable: &str, ports: &[u16]) -> Listener {
        Listener { pid, executable: executable.to_owned(), ports: ports.to_vec() }
    }

    #[test]
    fn it_says_what_is_attached_watched_not_watched_and_what_to_try() {
        let situation = Situation {
            seconds_without_spans: 5,
            backend: "syscall".to_owned(),
            hooks_attached: 3,
            shortcomings: vec!["io_uring is not seen by this backend".to_owned()],
            watched: vec![listener(4711, "/usr/bin/node", &[8080, 8081])],
            not_watched: vec![NotWatched {
                process: listener(812, "/usr/sbin/nginx\x1b[2J", &[3000]),
                reason: "not selected by --open-port 8000-8999".to_owned(),
            }],
            has_seen_bytes: false,
        };
        let expected = "\
No request has been seen for 5 s.
  attached     3 hooks by the syscall backend
               io_uring is not seen by this backend
  watched         4711 /usr/bin/node, ports 8080, 8081
  not watched      812 /usr/sbin/nginx␛[2J, port 3000: not selected by --open-port 8000-8999
  try          send it a request: curl http://localhost:8080/
               onlooker doctor says what this machine allows

";
        assert_eq!(nothing_seen(&situation), expected);
    }

    #[test]
    fn the_advice_fits_the_cause() {
        let not_watched = vec![NotWatched { process: listener(1, "a", &[80]), reason: "a system daemon".to_owned() }];
        let cases = [
            (Situation::default(), "start the program"),
            (Situation { not_watched, ..Situation::default() }, "--open-port PORT"),
            (
                Situation { watched: vec![listener(1, "a", &[])], has_seen_bytes: true, ..Situation::default() },
                "bytes came",
            ),
        ];
        for (situation, expected) in cases {
            assert!(nothing_seen(&situation).contains(expected), "{expected}");
        }
    }

    #[test]
    fn many_processes_are_counted() {
        let watched = (0..25).map(|pid| listener(pid, "worker", &[])).collect();
        let text = nothing_seen(&Situation { watched, ..Situation::default() });
        assert_eq!(text.matches("worker").count(), LISTED);
        assert!(text.contains("… and 15 more"));
    }
}
