// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Standard output: released spans in, lines or waterfalls written, each span counted as exported or dropped.
//!
//! A thread of its own writes, so that a reader that has paused stops nothing but the printing. The way to it is a
//! bounded queue; what finds it full is dropped and counted. A reader that is gone ends the printing, not the daemon.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    ledger::{Counter, Family, Ledger},
    policy::ReleasedSpan,
};

use super::{json, terminal::Terminal};

/// Spans that wait to be written, about 1 KB each. Larger: memory, while the reader pauses. Smaller: bursts are dropped, and
/// whatever ended within a few milliseconds leaves in one.
const QUEUE: usize = 16_384;

/// Spans in one JSON line. Larger: lines that tools refuse. Smaller: the resource is repeated more often.
const SPANS_IN_A_LINE: usize = 512;

/// How long spans are gathered after the first. Longer: they are seen later. Shorter: a wake-up and a write for each.
const GATHERING: Duration = Duration::from_millis(20);

/// How often a terminal that holds spans is asked whether a trace is complete.
const POLLING: Duration = Duration::from_millis(100);

/// How long a descriptor that would block is left alone: another program can have made it so for all that share it.
const BLOCKED: Duration = Duration::from_millis(10);

pub enum Printer {
    Tree(Box<Terminal>),
    Json,
}

/// The daemon's end of the queue.
pub struct Stdout {
    sender: SyncSender<Job>,
    tally: Arc<Tally>,
    /// Nothing is ever sent: it hangs up when the thread ends.
    ended: Receiver<()>,
}

enum Job {
    Span(Box<ReleasedSpan>),
    Text(String),
}

impl Stdout {
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(printer: Printer, writer: impl Write + Send + 'static, ledger: &Ledger) -> io::Result<Self> {
        let (sender, jobs) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(0);
        let tally = Arc::new(Tally::new(ledger));
        let press = Press { printer, writer, tally: Arc::clone(&tally), origin: Instant::now(), text: Vec::new() };
        thread::Builder::new().name("stdout".to_owned()).spawn(move || {
            press.run(jobs);
            drop(end);
        })?;
        Ok(Self { sender, tally, ended })
    }

    /// Never waits.
    pub fn handle_span(&self, span: ReleasedSpan) {
        self.tally.waiting.fetch_add(1, Ordering::Relaxed);
        match self.sender.try_send(Job::Span(Box::new(span))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.tally.settle(1, self.tally.queue_full),
            Err(TrySendError::Disconnected(_)) => self.tally.settle(1, self.tally.closed),
        }
    }

    /// A text for people; left out where spans fill the queue or nobody reads.
    pub fn handle_text(&self, text: String) {
        let _ = self.sender.try_send(Job::Text(text));
    }

    /// Writes what is there. What the reader does not take within the time is dropped and counted.
    pub fn finish(self, timeout: Duration) {
        // The thread ends when it has written what is in the queue and nobody can put more into it.
        drop(self.sender);
        let _ = self.ended.recv_timeout(timeout);
        self.tally.settle(u64::MAX, self.tally.shutdown);
    }
}

/// Each span is settled once, by whoever comes first: the thread, or `finish` when it has waited long enough.
struct Tally {
    /// Taken in and not settled.
    waiting: AtomicU64,
    exported: Counter,
    queue_full: Counter,
    closed: Counter,
    write_failed: Counter,
    screen_limit: Counter,
    shutdown: Counter,
}

impl Tally {
    fn new(ledger: &Ledger) -> Self {
        let dropped = |reason| {
            ledger.counter(Family::SpansDropped, &[("stage", "export"), ("exporter", "stdout"), ("reason", reason)])
        };
        Self {
            waiting: AtomicU64::new(0),
            exported: ledger.counter(Family::SpansExported, &[("exporter", "stdout")]),
            queue_full: dropped("queue_full"),
            closed: dropped("closed"),
            write_failed: dropped("write_failed"),
            screen_limit: dropped("screen_limit"),
            shutdown: dropped("shutdown"),
        }
    }

    fn settle(&self, spans: u64, counter: Counter) {
        let update = self
            .waiting
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| Some(waiting.saturating_sub(spans)));
        let (Ok(waiting) | Err(waiting)) = update;
        counter.add(waiting.min(spans));
    }
}

/// The thread's side.
struct Press<W> {
    printer: Printer,
    writer: W,
    tally: Arc<Tally>,
    origin: Instant,
    /// Reused for every line.
    text: Vec<u8>,
}

impl<W: Write> Press<W> {
    fn run(mut self, jobs: Receiver<Job>) {
        let Err(error) = self.print_all(&jobs) else { return };
        let reason =
            if error.kind() == io::ErrorKind::BrokenPipe { self.tally.closed } else { self.tally.write_failed };
        // First the queue is gone, then what was in it is settled: whoever sends meanwhile settles for itself.
        drop(jobs);
        self.tally.settle(u64::MAX, reason);
    }

    /// Ends when the daemon has hung up, or with the first error of writing.
    fn print_all(&mut self, jobs: &Receiver<Job>) -> io::Result<()> {
        let mut batch = Vec::new();
        loop {
            let first = if self.is_idle() {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(POLLING)
            };
            match first {
                Ok(job) => {
                    // Nobody waits for this thread, and each span that comes meanwhile is one wake-up less.
                    thread::sleep(GATHERING);
                    for job in [job].into_iter().chain(jobs.try_iter()) {
                        match job {
                            Job::Span(span) => batch.push(*span),
                            Job::Text(text) => self.write(text.as_bytes())?,
                        }
                        if batch.len() == SPANS_IN_A_LINE {
                            self.print(&mut batch)?;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            self.print(&mut batch)?;
        }
    }

    fn is_idle(&self) -> bool {
        match &self.printer {
            Printer::Tree(terminal) => terminal.is_idle(),
            Printer::Json => true,
        }
    }

    fn print(&mut self, batch: &mut Vec<ReleasedSpan>) -> io::Result<()> {
        match &mut self.printer {
            Printer::Tree(terminal) => {
                let now = self.origin.elapsed();
                batch.drain(..).for_each(|span| terminal.handle_span(&span, now));
                let Some(printout) = terminal.poll_text(now) else { return Ok(()) };
                self.tally.settle(printout.left_out, self.tally.screen_limit);
                self.write(printout.text.as_bytes())?;
                self.tally.settle(printout.shown, self.tally.exported);
            }
            Printer::Json => {
                let mut line = std::mem::take(&mut self.text);
                line.clear();
                json::write_line(&mut line, batch);
                self.write(&line)?;
                self.text = line;
                self.tally.settle(batch.len() as u64, self.tally.exported);
                batch.clear();
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Printer::Tree(terminal) = std::mem::replace(&mut self.printer, Printer::Json) else { return Ok(()) };
        let printout = terminal.finish();
        self.tally.settle(printout.left_out, self.tally.screen_limit);
        self.write(printout.text.as_bytes())?;
        self.tally.settle(printout.shown, self.tally.exported);
        Ok(())
    }

    /// All of it, through a descriptor that may refuse to wait.
    fn write(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            match self.writer.write(text) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => text = &text[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BLOCKED),
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.writer.flush() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(BLOCKED),
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests;
