// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What selectors ask of a process's pod, pure: conditions and a pod in, yes, no or not yet out.
//!
//! Does not: know where pods come from, nor wait for them.

use globset::GlobMatcher;

use super::judge::{SelectionError, glob};
use crate::{
    config::{PodCondition, PodField},
    enrich::kubernetes::{Place, Pod, workloads},
};

/// The pod's own word, stronger than every selector: `"true"` watches its processes, `"false"` never does. Named like a
/// key of Onlooker's and of nobody else's; the other agents have labels, of which a pod that is made already cannot be
/// rid of without its Deployment making it anew.
const WATCH: &str = "onlooker/watch";

/// Where a process lives.
#[derive(Clone, Debug)]
pub enum Lodging {
    /// In no pod, or there is no cluster.
    Outside,
    /// In a pod that the API server has not told of yet.
    Untold,
    In(Place),
}

/// Whether something holds for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    No,
    /// Its pod will tell.
    NotYet,
    Yes,
}

impl From<bool> for Answer {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// What a pod says of itself; anything but two words is nothing.
#[must_use]
pub fn own_word(pod: &Pod) -> Option<bool> {
    match pod.annotations.get(WATCH)?.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

impl Lodging {
    #[must_use]
    pub fn own_word(&self) -> Option<bool> {
        match self {
            Self::In(place) => own_word(&place.pod),
            Self::Outside | Self::Untold => None,
        }
    }
}

/// The conditions of one selector, compiled.
pub struct Conditions(Vec<(PodField, GlobMatcher)>);

impl Conditions {
    pub fn new(conditions: &[PodCondition]) -> Result<Self, SelectionError> {
        let compiled = |condition: &PodCondition| Ok((condition.field.clone(), glob(&condition.glob)?));
        conditions.iter().map(compiled).collect::<Result<_, _>>().map(Self)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn hold(&self, lodging: &Lodging) -> Answer {
        if self.is_empty() {
            return Answer::Yes;
        }
        match lodging {
            Lodging::Outside => Answer::No,
            Lodging::Untold => Answer::NotYet,
            Lodging::In(place) => {
                self.0.iter().map(|(field, glob)| holds(field, glob, place)).min().unwrap_or(Answer::Yes)
            }
        }
    }
}

fn holds(field: &PodField, glob: &GlobMatcher, place: &Place) -> Answer {
    let pod = &place.pod;
    let is_match = |value: Option<&String>| value.is_some_and(|value| glob.is_match(value));
    match field {
        PodField::Namespace => glob.is_match(&pod.namespace).into(),
        PodField::Pod => glob.is_match(&pod.name).into(),
        PodField::Container => match place.container.and_then(|index| pod.containers.get(index)) {
            Some(container) => glob.is_match(&container.name).into(),
            None => Answer::NotYet,
        },
        PodField::Owner => {
            let direct = pod.owner.as_ref().is_some_and(|owner| glob.is_match(&owner.name));
            (direct || workloads(pod).any(|workload| glob.is_match(workload.name))).into()
        }
        PodField::Workload(key) => {
            workloads(pod).any(|workload| workload.name_key == *key && glob.is_match(workload.name)).into()
        }
        PodField::Label(name) => is_match(pod.labels.get(name)).into(),
        PodField::Annotation(name) => is_match(pod.annotations.get(name)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::enrich::kubernetes::{Container, Owner};

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pod() -> Pod {
        let container = |name: &str| Container { name: name.to_owned(), ..Container::default() };
        Pod {
            namespace: "shop".to_owned(),
            name: "web-6d4cf56db6-x2x8p".to_owned(),
            labels: texts(&[("app", "web"), ("pod-template-hash", "6d4cf56db6")]),
            annotations: texts(&[("team", "blue")]),
            owner: Some(Owner {
                kind: "ReplicaSet".to_owned(),
                name: "web-6d4cf56db6".to_owned(),
                uid: "u".to_owned(),
            }),
            containers: vec![container("web"), container("proxy")],
            ..Pod::default()
        }
    }

    #[track_caller]
    fn check(conditions: &[(PodField, &str)], lodging: &Lodging, expected: Answer) {
        let written =
            conditions.iter().map(|(field, glob)| PodCondition { field: field.clone(), glob: (*glob).to_owned() });
        let compiled = Conditions::new(&written.collect::<Vec<_>>()).expect("globs");
        assert_eq!(compiled.hold(lodging), expected, "{conditions:?}");
    }

    #[test]
    fn each_field_is_matched() {
        use PodField::{Annotation, Container, Label, Namespace, Owner, Pod, Workload};
        let at = |container| Lodging::In(Place { pod: Arc::new(pod()), container });
        let app = || Label("app".to_owned());
        for (field, glob, is_match) in [
            (Namespace, "shop", true),
            (Namespace, "sho", false),
            (Pod, "web-*", true),
            (Container, "proxy", true),
            (Container, "web", false),
            (Owner, "web", true),
            (Owner, "web-6d4cf56db6", true),
            (Owner, "db", false),
            (Workload("k8s.deployment.name"), "web", true),
            (Workload("k8s.replicaset.name"), "web", false),
            (Workload("k8s.statefulset.name"), "*", false),
            (app(), "{web,api}", true),
            (app(), "db", false),
            (Label("tier".to_owned()), "*", false),
            (Annotation("team".to_owned()), "b*", true),
        ] {
            check(&[(field, glob)], &at(Some(1)), is_match.into());
        }
        check(&[(Namespace, "shop"), (app(), "db")], &at(Some(1)), Answer::No);
        // Which container it is, the kubelet has not said; where another condition fails, it need not.
        check(&[(Container, "web")], &at(None), Answer::NotYet);
        check(&[(Container, "web"), (Namespace, "market")], &at(None), Answer::No);
        check(&[], &Lodging::Outside, Answer::Yes);
        check(&[(Namespace, "*")], &Lodging::Outside, Answer::No);
        check(&[(Namespace, "*")], &Lodging::Untold, Answer::NotYet);
    }

    #[test]
    fn a_pod_s_own_word() {
        let says = |value: &str| own_word(&Pod { annotations: texts(&[(WATCH, value)]), ..Pod::default() });
        assert_eq!([says("true"), says("false"), says("yes")], [Some(true), Some(false), None]);
        assert_eq!(own_word(&pod()), None);
    }
}
