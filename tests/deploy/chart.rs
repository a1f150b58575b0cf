// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The Helm chart: it passes helm's lint, renders with every choice, and refuses a slip. What it renders is given to an API
//! server by the cluster tests.

use anyhow::{Result, ensure};
use onlooker_tests::helm::{CHOICES, Helm};

#[test]
fn the_chart_passes_the_lint_with_every_choice() -> Result<()> {
    let Some(helm) = Helm::find() else { return Ok(()) };
    for values in CHOICES {
        let output = helm.run(&["lint", "--strict"], values)?;
        ensure!(output.status.success(), "{values:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}

#[test]
fn choices_are_what_is_rendered() -> Result<()> {
    let Some(helm) = Helm::find() else { return Ok(()) };
    let plain = helm.render(&[])?;
    assert!(plain.contains("add: [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH]") && !plain.contains("privileged: true"));
    assert!(
        plain.contains("kind: ClusterRole\n") && !plain.contains("ONLOOKER_KUBERNETES") && !plain.contains("ConfigMap")
    );
    let privileged = helm.render(&[r#"profile="privileged""#])?;
    assert!(privileged.contains("privileged: true") && !privileged.contains("capabilities:"), "{privileged}");
    let none = helm.render(&[r#"rights="none""#])?;
    assert!(!none.contains("ClusterRole") && none.contains("automountServiceAccountToken: false"), "{none}");
    assert!(none.contains(r#"{name: ONLOOKER_KUBERNETES, value: "off"}"#), "{none}");
    let cluster = helm.render(&[r#"rights="cluster""#])?;
    assert!(cluster.contains("resources: [services]") && cluster.contains("resources: [endpointslices]"), "{cluster}");
    assert!(cluster.contains("{name: ONLOOKER_KUBERNETES_RIGHTS, value: cluster}"), "{cluster}");
    assert!(!plain.contains("services]") && !plain.contains("KUBERNETES_RIGHTS"), "{plain}");
    let configured = helm.render(&[r#"config={"discovery":{"instrument":[{"open_ports":"8080"}]}}"#])?;
    assert!(configured.contains("kind: ConfigMap") && configured.contains("open_ports: \"8080\""), "{configured}");
    let monitored = helm.render(&["podMonitor={\"enabled\":true,\"labels\":{\"release\":\"p\"}}"])?;
    assert!(monitored.contains("kind: PodMonitor") && monitored.contains("release: p"), "{monitored}");
    Ok(())
}

#[test]
fn a_slip_in_the_values_is_refused() -> Result<()> {
    let Some(helm) = Helm::find() else { return Ok(()) };
    for (slip, complaint) in [
        (r#"profil="observe""#, "profil"),
        (r#"profile="observer""#, "profile"),
        (r#"rights="all""#, "rights"),
        (r#"endpoint="otel-collector:4317""#, "endpoint"),
        (r#"image={"repository":""}"#, "repository"),
        (r#"env={"A":"B"}"#, "env"),
        (r#"podMonitor={"enable":true}"#, "podMonitor"),
    ] {
        let output = helm.run(&["template", "onlooker"], &[slip])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains(complaint), "{slip} was taken: {said}");
    }
    Ok(())
}
