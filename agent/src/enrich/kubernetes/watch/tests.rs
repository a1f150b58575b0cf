// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The watch against an API server that answers what it was told to, over TLS.

use std::{collections::VecDeque, convert::Infallible, fs, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    config::{KubernetesConfig, KubernetesMode, KubernetesRights},
    enrich::kubernetes::{cluster::ClusterWatch, pod::tests::WRITTEN, slice::Slice},
    ledger::Family,
};

/// Longer than any wait between attempts of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with each of its texts once, then never again.
struct FakeServer {
    kubeconfig: TempDir,
    /// Paths, as they were asked for.
    asked: mpsc::Receiver<String>,
    serving: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Script = Arc<Mutex<VecDeque<(u16, String)>>>;

impl FakeServer {
    async fn start(script: impl IntoIterator<Item = (u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("its own key");
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a pair");
        let kubeconfig = tempfile::tempdir().expect("a folder");
        fs::write(kubeconfig.path().join("ca.pem"), certificate.pem()).expect("written");
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'https://{address}', certificate-authority: ca.pem}}}}]\n\
             users: [{{name: a, user: {{token: secret}}}}]\n"
        );
        fs::write(kubeconfig.path().join("config"), text).expect("written");
        let script: Script = Arc::new(Mutex::new(script.into_iter().collect()));
        let (sender, asked) = mpsc::channel(64);
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), script, sender));
        Self { kubeconfig, asked, serving }
    }

    fn config(&self, rights: KubernetesRights, node: Option<&str>) -> KubernetesConfig {
        KubernetesConfig {
            mode: KubernetesMode::Auto,
            kubeconfig: Some(self.kubeconfig.path().join("config")),
            node_name: node.map(str::to_owned),
            cluster_name: None,
            rights,
        }
    }

    fn watch(&self, node: Option<&str>, ledger: &Ledger) -> (JoinHandle<()>, mpsc::Receiver<News>) {
        self.watch_with(KubernetesRights::Node, node, ledger)
    }

    fn watch_with(
        &self,
        rights: KubernetesRights,
        node: Option<&str>,
        ledger: &Ledger,
    ) -> (JoinHandle<()>, mpsc::Receiver<News>) {
        let config = self.config(rights, node);
        let (watch, changes) = ClusterWatch::new(&config, "machine", ledger).expect("readable").expect("it is named");
        (tokio::spawn(watch.run()), changes)
    }

    async fn next_path(&mut self) -> String {
        timeout(PATIENCE, self.asked.recv()).await.expect("in time").expect("it serves")
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, script: Script, asked: mpsc::Sender<String>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let Ok(stream) = tls.accept(stream).await else { continue };
        let (script, asked) = (Arc::clone(&script), asked.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (script, asked) = (Arc::clone(&script), asked.clone());
            async move {
                assert_eq!(request.headers()["authorization"], "Bearer secret");
                asked.send(request.uri().to_string()).await.expect("the test listens");
                match script.lock().await.pop_front() {
                    Some((status, text)) => {
                        let body = Full::new(Bytes::from(text));
                        Ok::<_, Infallible>(Response::builder().status(status).body(body).expect("plain"))
                    }
                    None => std::future::pending().await,
                }
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn pod(name: &str, version: u32) -> String {
    format!(r#"{{"metadata": {{"name": "{name}", "uid": "{name}", "resourceVersion": "{version}"}}}}"#)
}

fn list(pods: &[String], version: u32, next: &str) -> (u16, String) {
    let pods = pods.join(",");
    (200, format!(r#"{{"metadata": {{"resourceVersion": "{version}", "continue": "{next}"}}, "items": [{pods}]}}"#))
}

fn events(events: &[(&str, String)]) -> (u16, String) {
    let line = |(kind, object): &(&str, String)| format!(r#"{{"type": "{kind}", "object": {object}}}"#) + "\n";
    (200, events.iter().map(line).collect())
}

/// What has changed, in short: `(`, `)` for the list's ends, `+name`, `-name`.
async fn next_changes(changes: &mut mpsc::Receiver<News>, count: usize) -> String {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(match timeout(PATIENCE, changes.recv()).await.expect("in time").expect("it watches") {
            News::Pod(change) => in_short(change, |pod| pod.name),
            News::Service(change) => in_short(change, |service| service.name),
            News::Slice(change) => in_short(change, |slice| slice.name),
        });
    }
    told.join(" ")
}

fn in_short<T>(change: Change<T>, name: impl FnOnce(T) -> String) -> String {
    match change {
        Change::ListBegins => "(".to_owned(),
        Change::ListEnds => ")".to_owned(),
        Change::Seen(object) => format!("+{}", name(*object)),
        Change::Gone(object) => format!("-{}", name(*object)),
    }
}

const SELECTED: &str = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1";

#[tokio::test]
async fn a_list_then_watches_each_from_where_the_last_one_ended() {
    let mut server = FakeServer::start([
        list(&[pod("a", 1), pod("b", 2)], 5, "page=2"),
        list(&[WRITTEN.to_owned()], 5, ""),
        events(&[
            ("ADDED", pod("c", 6)),
            ("MODIFIED", pod("a", 7)),
            ("DELETED", pod("b", 8)),
            ("BOOKMARK", pod("", 9)),
        ]),
    ])
    .await;
    let (_watch, mut changes) = server.watch(Some("n1"), &Ledger::new());
    assert_eq!(server.next_path().await, format!("{SELECTED}&limit=50&continue="));
    assert_eq!(server.next_path().await, format!("{SELECTED}&limit=50&continue=page%3D2"));
    assert!(server.next_path().await.ends_with("&resourceVersion=5"));
    assert_eq!(next_changes(&mut changes, 8).await, "( +a +b +web-6d4cf56db6-x2x8p ) +c +a -b");
    let resumed = server.next_path().await;
    assert!(
        resumed.starts_with(&format!("{SELECTED}&watch=true")) && resumed.ends_with("&resourceVersion=9"),
        "{resumed}"
    );
}

#[tokio::test]
async fn a_place_that_is_too_old_is_left_for_a_new_list() {
    let gone = r#"{"kind": "Status", "code": 410, "message": "too old"}"#.to_owned();
    let mut server = FakeServer::start([
        list(&[pod("a", 1)], 5, ""),
        events(&[("ERROR", gone.clone())]),
        list(&[pod("b", 6)], 7, ""),
        (410, gone),
        list(&[], 8, ""),
    ])
    .await;
    let (_watch, mut changes) = server.watch(Some("n1"), &Ledger::new());
    assert_eq!(next_changes(&mut changes, 8).await, "( +a ) ( +b ) ( )");
    let versions: Vec<String> = [server.next_path().await, server.next_path().await, server.next_path().await]
        .iter()
        .map(|path| path.rsplit('&').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(versions, ["continue=", "resourceVersion=5", "continue="]);
}

#[tokio::test]
async fn without_the_right_to_look_it_is_asked_again() {
    let forbidden = r#"{"kind": "Status", "code": 403, "message": "pods is forbidden"}"#.to_owned();
    let server = FakeServer::start([(403, forbidden.clone()), (403, forbidden), list(&[pod("a", 1)], 2, "")]).await;
    let ledger = Ledger::new();
    let (_watch, mut changes) = server.watch(Some("n1"), &ledger);
    assert_eq!(next_changes(&mut changes, 5).await, "( ( ( +a )");
    assert_eq!(ledger.counter(Family::ClusterFailures, &[("reason", "forbidden")]).get(), 2);
}

#[tokio::test]
async fn without_a_node_s_name_the_machine_is_the_node() {
    let mut server = FakeServer::start([list(&[], 2, "")]).await;
    let (_watch, mut changes) = server.watch(None, &Ledger::new());
    assert!(server.next_path().await.starts_with("/api/v1/pods?fieldSelector=spec.nodeName%3Dmachine&"));
    assert_eq!(next_changes(&mut changes, 2).await, "( )");
}

#[tokio::test]
async fn with_the_rights_for_it_services_and_their_endpoints_are_watched_as_well() {
    let slice = r#"{"metadata": {"name": "orders-1", "resourceVersion": "4"}}"#.to_owned();
    // One that has its list goes on to its watch while others still ask for theirs: whatever is asked for is answered.
    let mut server = FakeServer::start((0..64).map(|_| list(&[], 2, ""))).await;
    let (_watch, _news) = server.watch_with(KubernetesRights::Cluster, Some("n1"), &Ledger::new());
    let mut lists = std::collections::BTreeSet::new();
    while lists.len() < 3 {
        let path = server.next_path().await;
        lists.extend(path.contains("limit=").then_some(path));
    }
    assert!(lists.into_iter().eq([
        format!("{SELECTED}&limit=50&continue="),
        "/api/v1/services?limit=200&continue=".to_owned(),
        "/apis/discovery.k8s.io/v1/endpointslices?limit=50&continue=".to_owned()
    ]));
    drop(server);

    let server = FakeServer::start([list(&[], 2, ""), events(&[("ADDED", slice.clone()), ("DELETED", slice)])]).await;
    let (sender, mut news) = mpsc::channel(8);
    let access = Access::find(&server.config(KubernetesRights::Cluster, None)).expect("readable").expect("it is named");
    let watch = Watch::<Slice>::new(&access, None, sender, &Told::default(), &Ledger::new());
    let _watch = tokio::spawn(watch.run());
    assert_eq!(next_changes(&mut news, 4).await, "( ) +orders-1 -orders-1");
}

#[tokio::test]
async fn it_ends_with_the_pipeline() {
    let server = FakeServer::start([list(&[pod("a", 1)], 2, "")]).await;
    let (watch, changes) = server.watch(Some("n1"), &Ledger::new());
    drop(changes);
    timeout(PATIENCE, watch).await.expect("in time").expect("no panic");
}
