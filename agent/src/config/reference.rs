// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Pages made from the table of options: `docs/options.md`, the man page and shell completions.

use std::fmt::Write as _;

use clap_complete::Shell;

use super::{
    command_line::parser,
    options::{CLUSTER, NAMING, OUTPUT, RUNNING, Row, SELECTION, TABLE},
};

/// `docs/options.md`; a test holds the file to it.
#[must_use]
pub fn options_page() -> String {
    let mut page = String::from(
        "<!-- SPDX-License-Identifier: Apache-2.0 OR MIT -->\n\
         <!-- Made from the table in agent/src/config/options.rs by `onlooker options-page`; a test holds it to that. -->\n\
         # Options\n\n\
         A flag is stronger than the environment, the environment than the YAML file, the file than the default. \
         Names in italics are those of the other eBPF agents: they are accepted, and `onlooker check` says which were used.\n",
    );
    for group in [SELECTION, OUTPUT, NAMING, CLUSTER, RUNNING] {
        let _ =
            writeln!(page, "\n## {group}\n\n| flag | environment | YAML | meaning | default |\n|---|---|---|---|---|");
        for row in TABLE.iter().filter(|row| row.group == group) {
            write_row(&mut page, row);
        }
    }
    page.push_str(SELECTORS);
    page
}

fn write_row(page: &mut String, row: &Row) {
    let code = |name: &str| if name.is_empty() { String::new() } else { format!("`{name}`") };
    let names = |own: &str, aliases: &[&str]| {
        let aliases = aliases.iter().map(|alias| format!("_`{alias}`_"));
        std::iter::once(code(own)).chain(aliases).filter(|name| !name.is_empty()).collect::<Vec<_>>().join("<br>")
    };
    let flag = row.flag.map_or_else(String::new, |flag| format!("`--{flag} {}`", row.value));
    let environment = names(row.environment, row.aliases);
    let file = names(row.file, row.file_aliases);
    let help = row.help.replace('|', "\\|");
    let _ = writeln!(page, "| {flag} | {environment} | {file} | {help} | {} |", code(row.default.unwrap_or_default()));
}

const SELECTORS: &str = "
## Selectors in the file

```yaml
discovery:
  instrument:               # any of these selects
    - open_ports: 8080,9000-9099
      exe_path: /opt/shop/* # all conditions of one selector must match
      service_name: shop
    - command_line: '*gunicorn*'
      containers_only: true
  exclude:                  # any of these refuses, whatever else selects
    - exe_path: '*/curl'
```

What `--open-port`, `--exe` and `--pid` select is added to what the file selects.
In globs `*` matches anything, slashes too; `?` matches one character, `[a-z]` one of a set, `{a,b}` either.
The other agents' `services` and `exclude_services`, whose paths are regular expressions, are read where the expression
can be written as a glob.

In Kubernetes a selector may also ask for the pod: `k8s_namespace`, `k8s_pod_name`, `k8s_container_name`,
`k8s_owner_name` (any owner), `k8s_deployment_name`, `k8s_replicaset_name`, `k8s_statefulset_name`, `k8s_daemonset_name`,
`k8s_cronjob_name`, `k8s_job_name`, each a glob, and `k8s_pod_labels` and `k8s_pod_annotations`, each a mapping of names
to globs. A pod's annotation `onlooker/watch` is stronger: `\"true\"` watches it whatever is selected, `\"false\"` never
does. [KUBERNETES.md](KUBERNETES.md) says when they are judged. A process that is in no pod matches none of them.
";

/// The man page of `onlooker`, in roff.
#[must_use]
pub fn manual() -> String {
    let mut page = Vec::new();
    clap_mangen::Man::new(parser()).render(&mut page).expect("writing to memory cannot fail");
    String::from_utf8(page).expect("the texts that it is made of are UTF-8")
}

#[must_use]
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut parser(), "onlooker", &mut script);
    String::from_utf8(script).expect("the texts that it is made of are UTF-8")
}
