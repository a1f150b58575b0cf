// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The container that a process runs in, by its control groups.
//!
//! In: the text of `/proc/PID/cgroup`, of version 1, 2 or both. Out: the container's id, and its pod's uid.
//! Does not: ask a runtime for names. With a private cgroup namespace seen from inside, and with runtimes whose group
//! names hold no id, there is none.

/// Hexadecimal digits of a container's id, in every runtime of the open container initiative.
const ID_DIGITS: usize = 64;

/// Digits of a static pod's hash; a uid has four more characters. Groups of others may begin with `pod` as well.
const POD_UID_LEAST: usize = 32;

/// The innermost group whose name ends in an id, with the runtime's prefix and systemd's suffix taken off:
/// `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`, `kubepods…/<id>`,
/// `kubepods-…slice:cri-containerd:<id>`.
#[must_use]
pub fn container_id(cgroups: &str) -> Option<&str> {
    // `hierarchy:controllers:path`; the path may hold colons.
    paths(cgroups).find_map(|path| path.rsplit('/').find_map(id_of_group))
}

/// The uid of the pod in whose group it is, as the kubelet writes it: `pod<uid>` with the driver of control groups,
/// `kubepods-burstable-pod<uid, with _ for ->.slice` with systemd's, in either case below groups of any name: a node may
/// be a container itself. Of a static pod it is no uid but a hash.
#[must_use]
pub fn pod_uid(cgroups: &str) -> Option<String> {
    paths(cgroups).find_map(|path| path.rsplit('/').find_map(uid_of_group))
}

fn paths(cgroups: &str) -> impl Iterator<Item = &str> {
    cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

fn uid_of_group(group: &str) -> Option<String> {
    // What follows a colon is the container, where a runtime of systemd's driver made no slice.
    let name = group.split(':').next()?;
    let name = name.strip_suffix(".slice").unwrap_or(name);
    // `kubepods` itself holds `pod`, so that the uid is what follows the last one.
    let (before, uid) = name.rsplit_once("pod")?;
    let is_pod = before.is_empty() || (before.contains("kubepods") && before.ends_with('-'));
    let is_uid =
        uid.len() >= POD_UID_LEAST && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-' | b'_'));
    (is_pod && is_uid).then(|| uid.replace('_', "-"))
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
    fn groups_of_pods() {
        const UID: &str = "8d0e1f9a-1111-4222-8333-abcdefabcdef";
        let check = |cgroups: &str, is_pod: bool| {
            let text = cgroups.replace("U_ID", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID);
            assert_eq!(pod_uid(&text).as_deref(), is_pod.then_some(UID), "{cgroups}");
        };
        check("0::/kubepods/besteffort/podUID/ID", true);
        check("0::/kubepods/podUID/ID", true);
        check("0::/kubepods.slice/kubepods-podU_ID.slice/crio-ID.scope", true);
        check(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope",
            true,
        );
        check("12:pids:/kubepods/burstable/podUID/ID\n0::/system.slice/kubelet.service", true);
        check("0::/system.slice/kubepods-besteffort-podU_ID.slice:cri-containerd:ID", true);
        check("0::/../../kubepods-burstable-podU_ID.slice/cri-containerd-ID.scope", true);
        check(
            "0::/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_ID.slice/cri-containerd-ID.scope",
            true,
        );
        check("0::/kubepods/podUID", true);
        check("0::/docker/ID", false);
        check("0::/machine.slice/podUID.d/x", false);
        check("0::/user.slice/tripod/ID", false);
        check("0::/kubepods/podium", false);
        check("0::/", false);
        let nested = "0::/docker/ID/kubepods/podUID/".replace("UID", UID).replace("ID", &"f".repeat(64)) + ID;
        assert_eq!(container_id(&nested), Some(ID), "the innermost");
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(pod_uid(&format!("0::/kubepods/pod{hash}/{ID}")).as_deref(), Some(hash));
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
