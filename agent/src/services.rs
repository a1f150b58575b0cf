// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What talks to the outside, on a thread of its own: the admin server, the sender of spans, the watch of the cluster, signals.
//!
//! In: the configuration. Out: the exporter's near end, what is told of the cluster, and whether it is time to stop.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use log::info;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use crate::{
    admin::{Health, Server, process_gauges},
    config::Config,
    enrich::{
        FactSource as _, LiveFacts,
        kubernetes::{ClusterWatch, News},
    },
    export::{
        Outputs,
        otlp::{self, OtlpExporter, OtlpSender},
    },
    ledger::Ledger,
    run::RunError,
};

/// The thread, and what it shares.
pub struct Services {
    otlp: Option<OtlpExporter>,
    is_stopping: Arc<AtomicBool>,
    /// What the API server tells, until the pipeline takes it.
    news: Mutex<Option<mpsc::Receiver<News>>>,
    /// Told when the pipeline has given its last span, and until when to send.
    last_span: Mutex<Option<oneshot::Sender<Instant>>>,
    thread: JoinHandle<()>,
}

impl Services {
    /// Binds what must be bound and checks what can be checked, then starts the thread.
    ///
    /// # Errors
    /// Where the admin address cannot be used, the exporter's settings are wrong, or the system refuses a thread.
    pub fn start(config: &Config, ledger: &Arc<Ledger>, health: &Arc<Health>) -> Result<Self, RunError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(RunError::Thread)?;
        let _inside = runtime.enter();
        let (near, far) = match &config.otlp {
            Some(settings) if !config.disabled => {
                let (exporter, sender) = otlp::exporter(settings, &config.batch, ledger)?;
                (Some(exporter), Some(sender))
            }
            _ => (None, None),
        };
        let admin = match config.admin {
            Some(address) => {
                let bound = Server::bind(address, Arc::clone(health), Arc::clone(ledger), process_gauges());
                Some(runtime.block_on(bound)?)
            }
            None => None,
        };
        let (watch, news) = ClusterWatch::new(&config.kubernetes, &LiveFacts.host().name, ledger)?.unzip();
        let signals = Signals::new().map_err(RunError::Thread)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&is_stopping);
        let (sender, last_span) = oneshot::channel();
        let thread = thread::Builder::new().name("services".to_owned());
        let thread = thread
            .spawn(move || runtime.block_on(serve(admin, far, watch, signals, stopping, last_span)))
            .map_err(RunError::Thread)?;
        Ok(Self { otlp: near, is_stopping, news: Mutex::new(news), last_span: Mutex::new(Some(sender)), thread })
    }

    /// The pipeline's end of the way to the collector.
    #[must_use]
    pub fn otlp(&self) -> Option<OtlpExporter> {
        self.otlp.clone()
    }

    /// The pipeline's end of the way from the API server, once; nothing where there is no cluster.
    #[must_use]
    pub fn news(&self) -> Option<mpsc::Receiver<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A signal has come.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Prints and sends what is queued, for so long at the most, then ends the thread.
    pub fn flush(self, outputs: Outputs, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        drop(outputs.otlp);
        self.stop(deadline);
        if let Some(stdout) = outputs.stdout {
            stdout.finish(deadline.saturating_duration_since(Instant::now()));
        }
    }

    fn stop(self, deadline: Instant) {
        if let Some(last_span) = self.last_span.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = last_span.send(deadline);
        }
        let _ = self.thread.join();
    }
}

async fn serve(
    admin: Option<Server>,
    sender: Option<OtlpSender>,
    cluster: Option<ClusterWatch>,
    signals: Signals,
    is_stopping: Arc<AtomicBool>,
    last_span: oneshot::Receiver<Instant>,
) {
    let admin = async {
        match admin {
            Some(server) => server.run(std::future::pending()).await,
            None => std::future::pending().await,
        }
    };
    // The sender outlives its receiver only when the start failed: then there is nothing to send.
    let flush = async { last_span.await.unwrap_or_else(|_| Instant::now()).into() };
    let sending = async {
        match sender {
            Some(sender) => sender.run(flush).await,
            None => drop(flush.await),
        }
    };
    let watching = async {
        if let Some(cluster) = cluster {
            cluster.run().await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => {}
        () = admin => {}
        () = watching => {}
        () = signals.watch(&is_stopping) => {}
    }
}

/// SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn watch(mut self, is_stopping: &AtomicBool) {
        self.next().await;
        info!("stopping: a second signal ends at once");
        is_stopping.store(true, Ordering::Relaxed);
        self.next().await;
        // What is queued is lost, which is what was asked for.
        std::process::exit(1);
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
