// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pods of this node by what a process shows of its own: the uid in its control groups, and its container's id.
//!
//! In: what has become of pods. Out: the [`Place`] of a process, and the pod that has an address. A list that is taken again, after the API server was away, takes
//! out what is no longer in it.

use std::{net::IpAddr, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{object::Change, pod::Pod};
use crate::ledger::{Counter, Family, Ledger};

/// Pods that are kept: a kubelet's default is 110, the largest known nodes have about a thousand. Larger: memory, about
/// 2 KiB each. Smaller: spans of the pods past it have no pod.
const PODS: usize = 4096;

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Place {
    pub pod: Arc<Pod>,
    /// Its container's index among the pod's; absent where the kubelet has not reported the container yet.
    pub container: Option<usize>,
}

#[derive(Debug)]
pub struct Pods {
    by_uid: FxHashMap<String, Arc<Pod>>,
    uid_by_container: FxHashMap<String, String>,
    /// For a moment there may be two: one that goes, and one that has been given its address.
    by_address: FxHashMap<IpAddr, SmallVec<[Arc<Pod>; 1]>>,
    /// While a list is taken: what it has named.
    listed: Option<FxHashSet<String>>,
    refused: Counter,
}

impl Pods {
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            by_uid: FxHashMap::default(),
            uid_by_container: FxHashMap::default(),
            by_address: FxHashMap::default(),
            listed: None,
            refused: ledger.counter(Family::PodsRefused, &[]),
        }
    }

    /// Answers with the uid, as processes show it, of a pod that is new or that has changed in what is kept of it.
    pub fn handle_change(&mut self, change: Change<Pod>) -> Option<String> {
        match change {
            Change::ListBegins => self.listed = Some(FxHashSet::default()),
            Change::ListEnds => {
                let listed = self.listed.take()?;
                let gone: Vec<String> = self.by_uid.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in gone {
                    self.forget(&uid);
                }
            }
            Change::Gone(pod) => self.forget(pod.uid_on_node()),
            Change::Seen(pod) => return self.keep(*pod),
        }
        None
    }

    fn keep(&mut self, pod: Pod) -> Option<String> {
        let uid = pod.uid_on_node().to_owned();
        if let Some(listed) = &mut self.listed {
            listed.insert(uid.clone());
        }
        match self.by_uid.get(&uid) {
            Some(known) if **known == pod => return None,
            Some(_) => self.forget(&uid),
            None if self.by_uid.len() >= PODS => {
                self.refused.increment();
                return None;
            }
            None => {}
        }
        for id in pod.containers.iter().filter_map(|container| container.id.clone()) {
            self.uid_by_container.insert(id, uid.clone());
        }
        let pod = Arc::new(pod);
        for address in &pod.addresses {
            self.by_address.entry(*address).or_default().push(Arc::clone(&pod));
        }
        self.by_uid.insert(uid.clone(), pod);
        Some(uid)
    }

    fn forget(&mut self, uid: &str) {
        let Some(pod) = self.by_uid.remove(uid) else { return };
        for id in pod.containers.iter().filter_map(|container| container.id.as_deref()) {
            self.uid_by_container.remove(id);
        }
        for address in &pod.addresses {
            let Some(pods) = self.by_address.get_mut(address) else { continue };
            pods.retain(|other| !Arc::ptr_eq(other, &pod));
            if pods.is_empty() {
                self.by_address.remove(address);
            }
        }
    }

    /// Nothing where two have it.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<&Pod> {
        match self.by_address.get(&address)?.as_slice() {
            [pod] => Some(pod),
            _ => None,
        }
    }

    /// By the pod's uid where the control groups show it. They do not, where Onlooker's own control group namespace hides
    /// it: that is so for the other containers of its own pod.
    #[must_use]
    pub fn find(&self, pod_uid: Option<&str>, container_id: Option<&str>) -> Option<Place> {
        let of_container = || self.uid_by_container.get(container_id?).map(String::as_str);
        let pod = self.by_uid.get(pod_uid.or_else(of_container)?)?;
        let has_id = || pod.containers.iter().position(|container| container.id.as_deref() == container_id);
        let container = container_id.and_then(|_| has_id()).or_else(|| only_container(pod));
        Some(Place { pod: Arc::clone(pod), container })
    }

    /// By the uid that its processes show.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Pod> {
        self.by_uid.get(uid).map(AsRef::as_ref)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }
}

/// Where there is no choice, nobody needs to wait for the kubelet's report.
fn only_container(pod: &Pod) -> Option<usize> {
    (pod.containers.len() == 1).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::pod::{Container, tests::written},
        *,
    };

    fn pods() -> Pods {
        Pods::new(&Ledger::new())
    }

    fn seen(pod: &Pod) -> Change<Pod> {
        Change::Seen(Box::new(pod.clone()))
    }

    #[test]
    fn processes_are_found_by_pod_and_by_container() {
        let (mut pods, pod) = (pods(), written());
        assert_eq!(pods.handle_change(seen(&pod)).as_deref(), Some(pod.uid.as_str()));
        assert_eq!(pods.handle_change(seen(&pod)), None, "nothing has changed");
        let container = |uid, id| pods.find(uid, id).map(|place| place.container);
        assert_eq!(container(Some(&pod.uid), Some("c1")), Some(Some(0)));
        assert_eq!(container(None, Some("c0")), Some(Some(2)));
        assert_eq!(container(Some(&pod.uid), Some("not yet reported")), Some(None));
        assert_eq!(container(Some(&pod.uid), None), Some(None));
        assert_eq!(container(None, Some("strange")), None);
        assert_eq!(container(Some("strange"), Some("c1")), None);
        assert_eq!(container(None, None), None);
    }

    #[test]
    fn an_only_container_needs_no_id() {
        let mut pods = pods();
        let container = Container { name: "web".to_owned(), is_main: true, ..Container::default() };
        let pod = Pod { uid: "u".to_owned(), containers: vec![container], ..Pod::default() };
        pods.handle_change(seen(&pod));
        assert_eq!(pods.find(Some("u"), Some("c")).and_then(|place| place.container), Some(0));
    }

    #[test]
    fn a_restarted_container_replaces_the_one_before() {
        let (mut pods, mut pod) = (pods(), written());
        pods.handle_change(seen(&pod));
        pod.containers[0].id = Some("c2".to_owned());
        assert!(pods.handle_change(seen(&pod)).is_some());
        assert!(pods.find(None, Some("c1")).is_none() && pods.find(None, Some("c2")).is_some());
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (mut pods, pod) = (pods(), written());
        pods.handle_change(seen(&pod));
        pods.handle_change(Change::Gone(Box::new(pod)));
        assert!(pods.is_empty() && pods.uid_by_container.is_empty() && pods.by_address.is_empty());
    }

    #[test]
    fn a_list_takes_out_what_it_does_not_name() {
        let (mut pods, old) = (pods(), written());
        let new = Pod { uid: "new".to_owned(), ..Pod::default() };
        pods.handle_change(seen(&old));
        pods.handle_change(Change::ListBegins);
        pods.handle_change(seen(&new));
        assert_eq!(pods.len(), 2, "until the list is whole");
        pods.handle_change(Change::ListEnds);
        assert!(pods.len() == 1 && pods.find(Some("new"), None).is_some());
    }

    #[test]
    fn the_table_is_bounded_and_counts() {
        let ledger = Ledger::new();
        let mut pods = Pods::new(&ledger);
        for number in 0..PODS + 3 {
            pods.handle_change(seen(&Pod { uid: number.to_string(), ..Pod::default() }));
        }
        assert_eq!((pods.len(), ledger.counter(Family::PodsRefused, &[]).get()), (PODS, 3));
    }
}
