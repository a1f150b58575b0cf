// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What stands behind a pod: the Deployment behind its ReplicaSet, the CronJob behind its Job.
//!
//! In: a pod. Out: its [`Workload`]s, the nearest first. Read off the pod alone, without the right to look at the owners:
//! Deployments write their hash into a label and the ReplicaSet's name, CronJobs the minute of their schedule into the
//! Job's name. Bias: what does not fit exactly is taken for an owner without an owner.

use super::pod::Pod;

/// Deployments mark their pods with it (`apps/v1`).
const TEMPLATE_HASH: &str = "pod-template-hash";

/// How far a CronJob's pod may be made after its minute: retries, and schedules that were caught up on. Larger: a bare Job
/// whose name ends in some number is more likely to be taken for one of a CronJob. Smaller: late pods have no CronJob.
const LATENESS_SECONDS: i64 = 7 * 24 * 3600;

/// Clocks of control plane and API server may differ.
const CLOCK_SECONDS: i64 = 300;

/// An owner of pods that the semantic conventions have attributes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload<'a> {
    pub name_key: &'static str,
    /// With the owner's uid, where the pod says it.
    pub uid: Option<(&'static str, &'a str)>,
    pub name: &'a str,
}

/// In the order in which `service.name` prefers them: what a person wrote before what was made of it.
pub fn workloads(pod: &Pod) -> impl Iterator<Item = Workload<'_>> {
    let direct = pod.owner.as_ref().and_then(|owner| {
        let (name_key, uid_key) = keys(&owner.kind)?;
        let uid = Some((uid_key, owner.uid.as_str())).filter(|(_, uid)| !uid.is_empty());
        Some(Workload { name_key, uid, name: &owner.name })
    });
    behind(pod).into_iter().chain(direct)
}

fn keys(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "ReplicaSet" => ("k8s.replicaset.name", "k8s.replicaset.uid"),
        "StatefulSet" => ("k8s.statefulset.name", "k8s.statefulset.uid"),
        "DaemonSet" => ("k8s.daemonset.name", "k8s.daemonset.uid"),
        "Job" => ("k8s.job.name", "k8s.job.uid"),
        "ReplicationController" => ("k8s.replicationcontroller.name", "k8s.replicationcontroller.uid"),
        _ => return None,
    })
}

/// The owner's owner, of which the uid is not known.
fn behind(pod: &Pod) -> Option<Workload<'_>> {
    let owner = pod.owner.as_ref()?;
    let (name_key, name) = match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = pod.labels.get(TEMPLATE_HASH)?;
            ("k8s.deployment.name", owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?)
        }
        "Job" => ("k8s.cronjob.name", cron_job(&owner.name, pod.created?)?),
        _ => return None,
    };
    (!name.is_empty()).then_some(Workload { name_key, uid: None, name })
}

/// `NAME-MINUTES`: the minutes since the epoch for which it was scheduled (Kubernetes 1.21 and later).
fn cron_job(job: &str, pod_created: i64) -> Option<&str> {
    let (name, minutes) = job.rsplit_once('-')?;
    let is_number = !minutes.is_empty() && minutes.bytes().all(|byte| byte.is_ascii_digit());
    let scheduled = minutes.parse::<i64>().ok().filter(|_| is_number)?.checked_mul(60)?;
    (pod_created - LATENESS_SECONDS..=pod_created + CLOCK_SECONDS).contains(&scheduled).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{super::pod::Owner, *};

    /// 2026-01-01T10:00:00Z: minute 29 454 360.
    const CREATED: i64 = 1_767_261_600;

    #[track_caller]
    fn check(kind: &str, name: &str, labels: &[(&str, &str)], expected: &[(&str, &str)]) {
        let owner = Owner { kind: kind.to_owned(), name: name.to_owned(), uid: "u".to_owned() };
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let pod = Pod { owner: Some(owner), labels, created: Some(CREATED), ..Pod::default() };
        let found: Vec<_> = workloads(&pod).map(|workload| (workload.name_key, workload.name)).collect();
        assert_eq!(found, expected, "{kind} {name}");
    }

    #[test]
    fn replica_sets() {
        let hash = &[("pod-template-hash", "6d4cf56db6")];
        let set = ("k8s.replicaset.name", "web-6d4cf56db6");
        check("ReplicaSet", "web-6d4cf56db6", hash, &[("k8s.deployment.name", "web"), set]);
        check("ReplicaSet", "web-6d4cf56db6", &[], &[set]);
        check("ReplicaSet", "web", hash, &[("k8s.replicaset.name", "web")]);
        check("ReplicaSet", "-6d4cf56db6", hash, &[("k8s.replicaset.name", "-6d4cf56db6")]);
        check("ReplicaSet", "web6d4cf56db6", hash, &[("k8s.replicaset.name", "web6d4cf56db6")]);
    }

    #[test]
    fn jobs() {
        check("Job", "tidy-29454359", &[], &[("k8s.cronjob.name", "tidy"), ("k8s.job.name", "tidy-29454359")]);
        // A number that is no minute of the last week.
        check("Job", "migrate-20260101", &[], &[("k8s.job.name", "migrate-20260101")]);
        check("Job", "migrate-29454366", &[], &[("k8s.job.name", "migrate-29454366")]);
        check("Job", "migrate", &[], &[("k8s.job.name", "migrate")]);
        check("Job", "-29454359", &[], &[("k8s.job.name", "-29454359")]);
        check("Job", "m-+9454359", &[], &[("k8s.job.name", "m-+9454359")]);
    }

    #[test]
    fn others() {
        check("StatefulSet", "db", &[], &[("k8s.statefulset.name", "db")]);
        check("DaemonSet", "log", &[], &[("k8s.daemonset.name", "log")]);
        check("Node", "n1", &[], &[]);
        check("Workflow", "w", &[], &[]);
        assert_eq!(workloads(&Pod::default()).count(), 0);
    }
}
