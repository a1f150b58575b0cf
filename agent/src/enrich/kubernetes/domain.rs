// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The domain that the names of the cluster's Services end in.
//!
//! In: `/etc/resolv.conf` of Onlooker's own pod, whose search list the kubelet writes. Out: names without it.

use std::fs;

/// Where nobody has chosen another.
const USUAL: &str = "cluster.local";

/// What stands between a Service's namespace and the domain.
const SERVICES: &str = ".svc";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDomain(String);

impl Default for ClusterDomain {
    fn default() -> Self {
        Self(USUAL.to_owned())
    }
}

impl ClusterDomain {
    /// The usual one where this is no pod, or one that uses its node's resolver.
    #[must_use]
    pub fn find() -> Self {
        fs::read_to_string("/etc/resolv.conf").ok().and_then(|text| Self::searched(&text)).unwrap_or_default()
    }

    /// `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`, as the kubelet writes it.
    fn searched(resolver: &str) -> Option<Self> {
        let lists = resolver.lines().filter_map(|line| line.strip_prefix("search"));
        let domain = lists.flat_map(str::split_whitespace).find_map(|name| name.strip_prefix("svc."))?;
        Some(Self(domain.trim_end_matches('.').to_ascii_lowercase()))
    }

    /// A name in lower case without what all Services have in common; true where it had that.
    #[must_use]
    pub fn without<'a>(&self, name: &'a str) -> (&'a str, bool) {
        let name = name.strip_suffix('.').unwrap_or(name);
        let inside = name.strip_suffix(self.0.as_str()).and_then(|rest| rest.strip_suffix('.')).unwrap_or(name);
        inside.strip_suffix(SERVICES).map_or((name, false), |service| (service, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_list_tells_it() {
        let pod =
            "search shop.svc.east.example svc.east.example east.example lan\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(ClusterDomain::searched(pod), Some(ClusterDomain("east.example".to_owned())));
        assert_eq!(ClusterDomain::searched("search lan\nnameserver 192.0.2.1\n"), None);
        assert_eq!(ClusterDomain::searched(""), None);
    }

    #[test]
    fn names_lose_it() {
        let domain = ClusterDomain::default();
        for (name, expected) in [
            ("orders", ("orders", false)),
            ("orders.shop", ("orders.shop", false)),
            ("orders.shop.svc", ("orders.shop", true)),
            ("orders.shop.svc.cluster.local", ("orders.shop", true)),
            ("orders.shop.svc.cluster.local.", ("orders.shop", true)),
            ("orders.shop.svc.other.local", ("orders.shop.svc.other.local", false)),
            ("shop.example.com", ("shop.example.com", false)),
            ("cluster.local", ("cluster.local", false)),
            ("svc", ("svc", false)),
        ] {
            assert_eq!(domain.without(name), expected);
        }
    }
}
