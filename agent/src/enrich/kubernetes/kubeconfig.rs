// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A kubeconfig in, [`Access`] out: the cluster and the user of its current context.
//!
//! Reads servers, authorities, tokens and client certificates, in place and from files. Does not run programs that print
//! credentials (`exec`), nor log in (`auth-provider`): it says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::access::{Access, AccessError, Secret};
use crate::config::yaml::{self, Content, Entry};

pub fn read(path: &Path) -> Result<Access, AccessError> {
    let text = fs::read_to_string(path).map_err(|source| AccessError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Access, AccessError> {
    let entries = yaml::parse(path, text).map_err(AccessError::NotYaml)?;
    let file = File { path, entries: &entries };
    let current = file.required(text_of(&entries, "current-context"), "current-context")?;
    let context = file.named("contexts", "context", current, "context of the name that current-context gives")?;
    let cluster = file.required(text_of(context, "cluster"), "cluster in the current context")?;
    let cluster = file.named("clusters", "cluster", cluster, "cluster that the current context names")?;
    let user = match text_of(context, "user") {
        Some(user) => file.named("users", "user", user, "user that the current context names")?,
        None => &[],
    };
    for method in ["exec", "auth-provider"] {
        if find(user, method).is_some() {
            return Err(AccessError::Method { path: path.to_owned(), method });
        }
    }
    let token = text_of(user, "token").map(|token| Secret::Given(token.as_bytes().to_vec()));
    let token = token.or_else(|| text_of(user, "tokenFile").map(|file_name| Secret::File(file.beside(file_name))));
    let certificate = file.secret(user, "client-certificate-data", "client-certificate")?;
    let key = file.secret(user, "client-key-data", "client-key")?;
    Ok(Access {
        server: file.required(text_of(cluster, "server"), "server in the cluster")?.trim_end_matches('/').to_owned(),
        authority: file.secret(cluster, "certificate-authority-data", "certificate-authority")?,
        trusts_all: text_of(cluster, "insecure-skip-tls-verify") == Some("true"),
        token,
        client: certificate.zip(key),
        namespace: None,
    })
}

struct File<'a> {
    path: &'a Path,
    entries: &'a [Entry],
}

impl<'a> File<'a> {
    fn required<T>(&self, found: Option<T>, what: &'static str) -> Result<T, AccessError> {
        found.ok_or_else(|| AccessError::Incomplete { path: self.path.to_owned(), what })
    }

    /// The mapping under `kind` of the list's entry of this name.
    fn named(&self, list: &str, kind: &str, name: &str, what: &'static str) -> Result<&'a [Entry], AccessError> {
        let items = match find(self.entries, list) {
            Some(Content::List(items)) => items.as_slice(),
            _ => &[],
        };
        let mappings = items.iter().filter_map(|item| mapping(&item.content));
        let mut named = mappings.filter(|entries| text_of(entries, "name") == Some(name));
        let found = named.find_map(|entries| mapping(find(entries, kind)?));
        self.required(found, what)
    }

    /// In place, or in a file that is named relative to this one.
    fn secret(&self, entries: &[Entry], data: &'static str, file: &str) -> Result<Option<Secret>, AccessError> {
        if let Some(text) = text_of(entries, data) {
            let text: String = text.split_whitespace().collect();
            let not_base64 = |_| AccessError::NotBase64 { path: self.path.to_owned(), what: data };
            return BASE64_STANDARD.decode(text).map(|bytes| Some(Secret::Given(bytes))).map_err(not_base64);
        }
        Ok(text_of(entries, file).map(|name| Secret::File(self.beside(name))))
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }
}

fn find<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Content> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value.content)
}

fn text_of<'a>(entries: &'a [Entry], key: &str) -> Option<&'a str> {
    match find(entries, key)? {
        Content::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn mapping(content: &Content) -> Option<&[Entry]> {
    match content {
        Content::Mapping(entries) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
apiVersion: v1
kind: Config
current-context: here
contexts:
- name: there
  context: {cluster: other, user: other}
- name: here
  context: {cluster: c, user: u}
clusters:
- name: c
  cluster: {server: 'https://10.0.0.1:6443/', certificate-authority: pki/ca.crt}
users:
- name: u
  user: USER
";

    fn parsed(user: &str) -> Result<Access, AccessError> {
        parse(Path::new("/etc/k/config"), &FILE.replace("USER", user))
    }

    #[test]
    fn the_current_context_is_read() {
        let access = parsed("{token: abc}").expect("whole");
        assert_eq!(access.server, "https://10.0.0.1:6443");
        assert!(access.authority == Some(Secret::File("/etc/k/pki/ca.crt".into())) && !access.trusts_all);
        assert!(access.token == Some(Secret::Given(b"abc".to_vec())) && access.client.is_none());
    }

    #[test]
    fn users_are_known_by_files_and_by_what_is_in_place() {
        let access = parsed("{tokenFile: /run/t}").expect("whole");
        assert!(access.token == Some(Secret::File("/run/t".into())));
        let access = parsed("{client-certificate-data: YWI=, client-key: k.pem}").expect("whole");
        assert!(access.client == Some((Secret::Given(b"ab".to_vec()), Secret::File("/etc/k/k.pem".into()))));
    }

    #[test]
    fn what_is_missing_is_named() {
        let sentence = |user: &str| match parsed(user) {
            Ok(_) => panic!("accepted: {user}"),
            Err(error) => error.to_string(),
        };
        assert!(sentence("{exec: {command: aws}}").contains("known by exec"));
        assert!(sentence("{client-key-data: '?'}").contains("client-key-data is not base64"));
        let nobody = parse(Path::new("k"), &FILE.replace("name: u", "name: v"));
        assert!(matches!(nobody, Err(AccessError::Incomplete { what: "user that the current context names", .. })));
        assert!(matches!(parse(Path::new("k"), ""), Err(AccessError::Incomplete { what: "current-context", .. })));
    }
}
