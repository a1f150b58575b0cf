// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The container that a process runs in, by its control groups.
//!
//! In: the text of `/proc/PID/cgroup`, of version 1, 2 or both. Out: the container's id.
//! Does not: ask a runtime for names. With a private cgroup namespace seen from inside, and with runtimes whose group
//! names hold no id, there is none.

/// Hexadecimal digits of a container's id, in every runtime of the open container initiative.
const ID_DIGITS: usize = 64;

/// The innermost group whose name ends in an id, with the runtime's prefix and systemd's suffix taken off:
/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`, `kubepods…/<id>`,
/// `kubepods-…slice:cri-containerd:<id>`.
#[must_use]
pub fn container_id(cgroups: &str) -> Option<&str> {
    // `hierarchy:controllers:path`; the path may hold colons.
    cgroups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(|path| path.rsplit('/').find_map(id_of_group))
}

fn id_of_group(group: &str) -> Option<&str> {
    let name = group.strip_suffix(".scope").unwrap_or(group);
    // Podman keeps its monitor beside the container: it is not in it.
    if name.starts_with("libpod-conmon-") || name.starts_with("crio-conmon-") {
        return None;
    }
    let id = name.rsplit(['-', ':']).next()?;
    let is_hexadecimal = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (id.len() == ID_DIGITS && is_hexadecimal).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(cgroups: &str, is_container: bool) {
        assert_eq!(container_id(&cgroups.replace("ID", ID)), is_container.then_some(ID), "{cgroups}");
    }

    #[test]
    fn groups_of_containers() {
        check("12:pids:/docker/ID\n11:cpu:/docker/ID\n0::/system.slice/containerd.service", true);
        check("0::/docker/ID", true);
        check("0::/system.slice/docker-ID.scope", true);
        check(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-ID.scope",
            true,
        );
        check("0::/kubepods/besteffort/pod8d0e/ID", true);
        check("0::/kubepods.slice/kubepods-pod1.slice/crio-ID.scope/container", true);
        check("1:name=systemd:/machine.slice/libpod-ID.scope\n0::/machine.slice/libpod-ID.scope/init.scope", true);
        check("0::/system.slice/kubepods-besteffort-pod1.slice:cri-containerd:ID", true);
        check("0::/../../kubepods/pod1/ID", true);
    }

    #[test]
    fn groups_of_others() {
        check("", false);
        check("0::/", false);
        check("0::/user.slice/user-1000.slice/session-2.scope", false);
        check("0::/system.slice/nginx.service", false);
        check("0::/machine.slice/libpod-conmon-ID.scope", false);
        check("0::/docker/0123", false);
        check("junk", false);
    }
}
