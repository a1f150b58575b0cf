// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What people have deployed for other eBPF agents, with only the image changed: their variables, their rights, their collector.

use std::{env, io::Write as _, net::TcpStream};

use anyhow::Result;
use onlooker_tests::{Collector, Onlooker, PATIENCE, ServerProcess, skip};

use super::{
    container::{Container, Rights},
    image::Image,
};

/// The environment of a DaemonSet as its documentation has it: the ports that it watches, and where its collector is.
type Environment = fn(&str, &Addresses) -> Vec<(&'static str, String)>;

struct Addresses {
    grpc: String,
    http: String,
}

/// The protocol goes by the port: what is not 4317 is asked over HTTP.
fn of_beyla(ports: &str, addresses: &Addresses) -> Vec<(&'static str, String)> {
    vec![
        ("BEYLA_OPEN_PORT", ports.to_owned()),
        ("BEYLA_SERVICE_NAMESPACE", "production".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", addresses.http.clone()),
    ]
}

fn of_obi(ports: &str, addresses: &Addresses) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EBPF_OPEN_PORT", ports.to_owned()),
        ("OTEL_EBPF_SERVICE_NAMESPACE", "production".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", addresses.grpc.clone()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
    ]
}

const OTHERS: [Environment; 2] = [of_beyla, of_obi];

#[test]
fn the_variables_of_the_other_agents_lead_to_a_first_trace_in_their_collector() -> Result<()> {
    if env::var_os("ONLOOKER_COLLECTOR").is_none() {
        skip("no collector was built");
        return Ok(());
    }
    let image = Image::unpack()?;
    for environment in OTHERS {
        let folder = tempfile::tempdir()?;
        let collector = Collector::start(folder.path(), None)?;
        let server = ServerProcess::start()?;
        let ports = format!("80,443,3000,{}", server.address().port());
        let [grpc, http] = [collector.grpc, collector.http].map(|address| format!("http://{address}"));
        let environment = environment(&ports, &Addresses { grpc, http });
        let mut command = Container::new(&image, Rights::Everything)?.command();
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let onlooker = Onlooker::start_as(command, &["--print", "none"], &[])?;
        let mut stream = TcpStream::connect(server.address())?;
        write!(stream, "GET /swapped HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let spans = collector.wait_count(1, PATIENCE)?;
        assert_eq!((spans[0].kind, spans[0].text("url.path")), ("SERVER", Some("/swapped")));
        assert_eq!(spans[0].resource["service.namespace"].as_str(), Some("production"), "{:#?}", spans[0]);
        let finished = onlooker.stop()?;
        assert!(!finished.stderr.contains("WARN"), "{}", finished.stderr);
        finished.ledger.assert_conserved("otlp");
    }
    Ok(())
}

#[test]
fn check_lists_what_it_has_understood() -> Result<()> {
    let image = Image::unpack()?;
    for environment in OTHERS {
        let endpoint = "http://otel-collector:4317".to_owned();
        let environment = environment("80,443,8080,3000", &Addresses { grpc: endpoint.clone(), http: endpoint });
        let mut command = Container::new(&image, Rights::Everything)?.command();
        command.arg("check").envs(environment.iter().map(|(name, value)| (name, value)));
        let output = command.output()?;
        let said = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{said}");
        for (name, _) in &environment {
            assert!(said.contains(name), "{name} is not in\n{said}");
        }
        assert!(said.contains("production") && said.contains("http://otel-collector:4317"), "{said}");
    }
    Ok(())
}
