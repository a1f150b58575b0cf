// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who is called, by name: Services and pods as a real API server tells of them, and calls to the addresses that it gave
//! them. Client and server have a network of their own, in which one server answers at all of these addresses.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use onlooker_tests::{Cluster, Finished, Onlooker, ServerProcess, Span, cluster::ContainerGroup, poll_until};

use super::{RECOVERY, container_id, manifests, pod, report, start_cluster};

const PORT: u16 = 8080;

/// Of pods, which nobody but the test gives out.
const ENDPOINT: &str = "10.1.0.5";
const SHARED_ENDPOINT: &str = "10.1.0.6";
const OWN: &str = "10.1.0.9";

/// A Service with a pod, one without an address, and an endpoint that two Services have.
const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{port: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: orders-1, namespace: shop, labels: {kubernetes.io/service-name: orders}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.1.0.5], targetRef: {kind: Pod, namespace: shop, name: orders-a}}
- {addresses: [10.1.0.6], targetRef: {kind: Pod, namespace: shop, name: orders-b}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: canary-1, namespace: shop, labels: {kubernetes.io/service-name: canary}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- {addresses: [10.1.0.6], targetRef: {kind: Pod, namespace: shop, name: orders-b}}
";

/// A server that answers at any of these addresses, in a network that nobody else is in.
fn start_server(addresses: &[&str]) -> Result<ServerProcess> {
    let mut script = "ip link set lo up".to_owned();
    for address in addresses {
        script.push_str(&format!(" && ip address add {address}/32 dev lo"));
    }
    script.push_str(r#" && exec "$0" "$1""#);
    let mut command = Command::new("unshare");
    let program = ServerProcess::program()?;
    command.args(["--net", "sh", "-c", &script]).arg(program).arg(format!("0.0.0.0:{PORT}"));
    ServerProcess::start_as(command)
}

/// What calls, in the pod `front` on the server's network: a shell that calls what it reads. Dropped, it ends.
struct Client {
    shell: Child,
    calls: u32,
    _group: ContainerGroup,
}

impl Client {
    fn start(server: &ServerProcess, pod_uid: &str, container_id: &str) -> Result<Self> {
        const SCRIPT: &str = r#"while read -r host url; do curl -s -o /dev/null -H "Host: $host" "$url"; done"#;
        let group = ContainerGroup::create(pod_uid, container_id)?;
        let shell = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", server.pid()))
            .args(["bash", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .spawn()?;
        group.take(shell.id())?;
        Ok(Self { shell, calls: 0, _group: group })
    }

    /// Calls this address under the name that it is known by there, and gives the span of it.
    fn call(&mut self, host: &str, address: &str, onlooker: &mut Onlooker) -> Result<Span> {
        self.calls += 1;
        let path = format!("/call/{}", self.calls);
        let input = self.shell.stdin.as_mut().context("it is piped")?;
        writeln!(input, "{host} http://{address}:{PORT}{path}")?;
        let url = format!("http://{host}{path}");
        let is_it = |span: &Span| span.kind == "CLIENT" && span.text("url.full") == Some(&url);
        let spans = onlooker.wait_spans(|spans| spans.iter().any(is_it), RECOVERY)?;
        spans.iter().find(|span| is_it(span)).cloned().context("it was awaited")
    }

    /// Calls this address, by itself, until whom it calls is told by this name.
    fn wait_for_name(&mut self, what: &str, address: &str, name: &str, onlooker: &mut Onlooker) -> Result<()> {
        poll_until(what, RECOVERY, || {
            let span = self.call(address, address, onlooker).ok()?;
            (span.text("server.address") == Some(name)).then_some(())
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Onlooker as the user `agent`, who has the rights that the test gives.
fn watch(cluster: &Cluster, rights: &str, client: &Client) -> Result<Onlooker> {
    let kubeconfig = cluster.kubeconfig("agent");
    let environment = [
        ("KUBECONFIG", kubeconfig.to_str().context("plain")?),
        ("NODE_NAME", "n1"),
        ("ONLOOKER_KUBERNETES_RIGHTS", rights),
    ];
    Onlooker::start(&["--pid", &client.shell.id().to_string()], &environment)
}

fn grant(cluster: &Cluster, manifests: &str) -> Result<()> {
    cluster.kubectl(&["apply", "-f", "-"], &manifests::built(cluster, manifests)?)?;
    let binding = ["create", "clusterrolebinding", "agent", "--clusterrole=onlooker", "--user=agent"];
    // It may be there, of fewer rights.
    if cluster.kubectl(&["get", "clusterrolebinding", "agent"], "").is_err() {
        cluster.kubectl(&binding, "")?;
    }
    Ok(())
}

/// The cluster with a client's pod, the address of its Service `orders`, and who answers there.
fn prepare() -> Result<(Cluster, String, ServerProcess, Client)> {
    let cluster = start_cluster()?;
    cluster.create(OBJECTS)?;
    let address =
        cluster.kubectl(&["-n", "shop", "get", "service", "orders", "-o", "jsonpath={.spec.clusterIP}"], "")?;
    ensure!(!address.is_empty(), "the API server gave the Service no address");
    let id = container_id(31);
    let uid = cluster.create(&pod("front", ""))?;
    report(&cluster, "front", "web", &id)?;
    let addresses = format!(r#"{{"status": {{"phase": "Running", "podIP": "{OWN}", "podIPs": [{{"ip": "{OWN}"}}]}}}}"#);
    cluster.kubectl(
        &["-n", "shop", "patch", "pod", "front", "--subresource=status", "--type=merge", "-p", &addresses],
        "",
    )?;
    let server = start_server(&[&address, ENDPOINT, SHARED_ENDPOINT, OWN])?;
    let client = Client::start(&server, &uid, &id)?;
    Ok((cluster, address, server, client))
}

fn finish(onlooker: Onlooker) -> Result<Finished> {
    let finished = onlooker.stop()?;
    finished.ledger.assert_conserved("stdout");
    assert_eq!(finished.ledger.total("onlooker_kubernetes_peers_refused_total"), 0);
    Ok(finished)
}

#[test]
fn calls_say_whom_they_call_by_name() -> Result<()> {
    let (cluster, service, _server, mut client) = prepare()?;
    grant(&cluster, "cluster")?;
    let mut onlooker = watch(&cluster, "cluster", &client)?;
    client.wait_for_name("Services are known", &service, "orders.shop", &mut onlooker)?;
    client.wait_for_name("endpoints are known", ENDPOINT, "orders.shop", &mut onlooker)?;
    let service = service.as_str();
    for (host, address, expected) in [
        ("orders", service, "orders.shop"),
        ("orders.shop:8080", service, "orders.shop"),
        ("orders.shop.svc", service, "orders.shop"),
        ("orders.shop.svc.cluster.local", service, "orders.shop"),
        ("db-0.db", ENDPOINT, "db-0.db.shop"),
        // Two Services have it: which one is meant, nobody knows.
        (SHARED_ENDPOINT, SHARED_ENDPOINT, "orders-b.shop"),
        (OWN, OWN, "front.shop"),
        ("shop.example.com", service, "shop.example.com"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ] {
        let span = client.call(host, address, &mut onlooker)?;
        assert_eq!(span.text("server.address"), Some(expected), "{host} at {address}");
        assert_eq!(span.text("network.peer.address"), Some(address), "{host} at {address}");
        assert_eq!(span.integer("server.port"), Some(PORT.into()), "{host} at {address}");
    }

    // What is gone is not named any more.
    cluster.kubectl(&["-n", "shop", "delete", "service", "orders"], "")?;
    client.wait_for_name("the Service is forgotten", service, service, &mut onlooker)?;
    finish(onlooker)?;
    Ok(())
}

#[test]
fn without_the_rights_this_node_s_pods_are_named_and_the_rest_when_the_rights_come() -> Result<()> {
    let (cluster, service, _server, mut client) = prepare()?;
    grant(&cluster, "base")?;
    let mut onlooker = watch(&cluster, "cluster", &client)?;
    client.wait_for_name("this node's pods are known", OWN, "front.shop", &mut onlooker)?;
    let span = client.call(&service, &service, &mut onlooker)?;
    assert_eq!(span.text("server.address"), Some(service.as_str()));
    grant(&cluster, "cluster")?;
    client.wait_for_name("Services are known", &service, "orders.shop", &mut onlooker)?;
    let finished = finish(onlooker)?;
    for names in ["services", "endpointslices"] {
        let told = format!("give its service account the right to list and watch {names};");
        assert_eq!(finished.stderr.matches(&told).count(), 1, "told once: {}", finished.stderr);
    }
    Ok(())
}

#[test]
fn nobody_asks_for_services_unless_he_is_told_to() -> Result<()> {
    let (cluster, service, _server, mut client) = prepare()?;
    grant(&cluster, "cluster")?;
    let mut onlooker = watch(&cluster, "node", &client)?;
    client.wait_for_name("this node's pods are known", OWN, "front.shop", &mut onlooker)?;
    let span = client.call(&service, &service, &mut onlooker)?;
    assert_eq!(span.text("server.address"), Some(service.as_str()));
    let finished = finish(onlooker)?;
    assert!(!finished.stderr.contains("services are known"), "{}", finished.stderr);
    Ok(())
}
