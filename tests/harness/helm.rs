// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The chart in `deploy/helm/`, through helm: the program that `ONLOOKER_HELM` names, which `cargo xtask cluster` builds.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Result, ensure};

use crate::skip;

#[derive(Debug)]
pub struct Helm {
    program: PathBuf,
}

impl Helm {
    /// Nothing, and a line that says so, where it was not built.
    #[must_use]
    pub fn find() -> Option<Self> {
        let program = env::var_os("ONLOOKER_HELM").map(|program| Self { program: program.into() });
        if program.is_none() {
            skip("helm is not there: `cargo xtask cluster` builds it, once per machine");
        }
        program
    }

    /// Runs it on the chart, with these values as `--set` takes them.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn run(&self, command: &[&str], values: &[&str]) -> Result<Output> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/helm/onlooker");
        let values = values.iter().flat_map(|value| ["--set-json", value]);
        Ok(Command::new(&self.program).args(command).arg(chart).args(values).output()?)
    }

    /// What would be installed into the namespace `watch`.
    ///
    /// # Errors
    ///
    /// The chart or the values are refused, with what helm said.
    pub fn render(&self, values: &[&str]) -> Result<String> {
        let output = self.run(&["template", "onlooker", "--namespace", "watch"], values)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "helm template {values:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Every choice that changes what is rendered.
pub const CHOICES: &[&[&str]] = &[
    &[],
    &[r#"profile="privileged""#],
    &[r#"rights="none""#],
    &[r#"rights="cluster""#],
    &[r#"profile="privileged""#, r#"rights="none""#, r#"endpoint="""#],
    &[
        r#"config={"discovery":{"instrument":[{"open_ports":"8080"}]}}"#,
        r#"clusterName="test""#,
        r#"env=[{"name":"ONLOOKER_LOG","value":"debug"}]"#,
        r#"podAnnotations={"a":"b"}"#,
        r#"podLabels={"a":"b"}"#,
        r#"serviceAccount.annotations={"a":"b"}"#,
        r#"imagePullSecrets=[{"name":"s"}]"#,
        r#"affinity={"nodeAffinity":{}}"#,
        r#"image={"repository":"registry.example/onlooker","tag":"7"}"#,
    ],
];
