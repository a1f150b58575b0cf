// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of Kubernetes here: which rights there are, and what is lost without the others.
//!
//! In: how the cluster is to be asked. Out: findings; none where this is no cluster.

use std::env;

use super::Finding;
use crate::{
    config::{KubernetesConfig, KubernetesMode, KubernetesRights},
    enrich::kubernetes::{ClusterError, Survey},
};

const GROUP: &str = "Kubernetes";

const PODS: &str = "pods of this node";
const PODS_REMEDY: &str = "spans have no k8s.* attributes, and selectors that ask for pods match nothing: the right to list and \
                           watch pods (rights: node of the chart)";

const PEERS: &str = "Services and endpoints";
const PEERS_REMEDY: &str = "server.address of calls to Services and to other nodes stays as it was on the wire: the right to \
                            list and watch services and endpointslices, and --kubernetes-rights cluster (rights: cluster of \
                            the chart)";

pub fn findings(config: &KubernetesConfig) -> Vec<Finding> {
    if config.mode == KubernetesMode::Off {
        // Outside a cluster that is no loss.
        let is_pod = env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let off = || vec![Finding::no(GROUP, PODS, "not asked for: --kubernetes is off", PODS_REMEDY)];
        return if is_pod { off() } else { Vec::new() };
    }
    match Survey::take(config) {
        Ok(None) => Vec::new(),
        Ok(Some(survey)) => of_survey(&survey, config.rights),
        Err(error) => vec![Finding::no(GROUP, PODS, error.to_string(), PODS_REMEDY)],
    }
}

fn of_survey(survey: &Survey, rights: KubernetesRights) -> Vec<Finding> {
    let Survey { server, pods, services, slices } = survey;
    let finding = |name: &'static str, result: Result<(), &ClusterError>, remedy| match result {
        Ok(()) => Finding::yes(GROUP, name, format!("{server} tells of them")),
        Err(error) => Finding::no(GROUP, name, format!("{server} {error}"), remedy),
    };
    let peers = match rights {
        KubernetesRights::Node => Finding::no(GROUP, PEERS, "not asked for: --kubernetes-rights is node", PEERS_REMEDY),
        KubernetesRights::Cluster => finding(PEERS, services.as_ref().and(slices.as_ref()).map(drop), PEERS_REMEDY),
    };
    vec![finding(PODS, pods.as_ref().copied(), PODS_REMEDY), peers]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), ClusterError> {
        let message = "services is forbidden".to_owned();
        Err(ClusterError::Refused { status: http::StatusCode::FORBIDDEN, message })
    }

    #[track_caller]
    fn check(
        pods: Result<(), ClusterError>,
        slices: Result<(), ClusterError>,
        rights: KubernetesRights,
        expected: [bool; 2],
    ) {
        let survey = Survey { server: "https://api".to_owned(), pods, services: Ok(()), slices };
        let found = of_survey(&survey, rights);
        assert_eq!([found[0].works, found[1].works], expected, "{found:#?}");
        for finding in found {
            assert_eq!(finding.works, finding.remedy.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn what_is_refused_or_not_asked_for_says_what_is_lost() {
        use KubernetesRights::{Cluster, Node};
        check(Ok(()), Ok(()), Cluster, [true, true]);
        check(Ok(()), Ok(()), Node, [true, false]);
        check(Ok(()), refused(), Cluster, [true, false]);
        check(refused(), refused(), Node, [false, false]);
    }
}
