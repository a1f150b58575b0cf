// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What Onlooker may cost over nothing, in instructions a request, and where it wants to be: for small requests on Linux
//! 6.12. And how much of the kernel's memory it may take there.

use super::figures::{Figures, http1_of};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aim {
    /// More is a defect.
    pub must: f64,
    /// Of HTTP/2 there is none but that.
    pub aim: Option<f64>,
}

/// What a request of HTTP/2 may cost of one of HTTP/1, both over nothing.
const HTTP2_OVER_HTTP1: f64 = 1.5;

/// By state; fentry, kprobe, syscall.
const AIMS: [(&str, [(u32, u32); 3]); 4] = [
    ("unwatched", [(1_300, 900), (3_300, 2_800), (1_800, 1_200)]),
    ("uninteresting", [(1_900, 1_300), (4_000, 3_300), (3_000, 2_200)]),
    ("server", [(9_000, 5_500), (12_000, 8_000), (11_000, 7_500)]),
    ("both", [(16_000, 10_000), (20_000, 14_500), (19_000, 13_500)]),
];

/// Of the kernel's maps, at the sizes that are the default.
const MAPS_BYTES: u64 = 16 << 20;

pub fn aim(figures: &Figures, state: &str) -> Option<Aim> {
    let place = figures.place;
    if let Some(http1) = http1_of(state) {
        let http1 = figures.over_nothing(http1).filter(|over| *over > 0.0)?;
        return Some(Aim { must: http1 * HTTP2_OVER_HTTP1, aim: None });
    }
    if !is_measured_against(figures) {
        return None;
    }
    let backend = super::BACKENDS.iter().position(|backend| *backend == place.backend)?;
    let (_, by_backend) = AIMS.iter().find(|(name, _)| *name == state)?;
    let (must, aim) = by_backend[backend];
    Some(Aim { must: must.into(), aim: Some(aim.into()) })
}

/// What is a defect.
pub fn missed(figures: &Figures) -> Vec<String> {
    let missed = |state: &&String| {
        let over = figures.over_nothing(state);
        over.zip(aim(figures, state)).is_some_and(|(over, aim)| over > aim.must)
    };
    let text = |state: &String| format!("{}, {state}: over what it must cost at most", figures.place);
    let has_large_maps = is_measured_against(figures) && figures.single.get("maps").is_some_and(|of| *of > MAPS_BYTES);
    let maps = has_large_maps.then(|| format!("{}: more than {} MiB of maps", figures.place, MAPS_BYTES >> 20));
    figures.costs.keys().filter(missed).map(text).chain(maps).collect()
}

fn is_measured_against(figures: &Figures) -> bool {
    figures.place.kernel == "6.12" && figures.place.response.name == "small"
}

#[cfg(test)]
mod tests {
    use super::{
        super::figures::{Cost, Place, RESPONSES},
        *,
    };

    fn missed_of(states: &[(&str, f64)]) -> usize {
        let place = Place { kernel: "6.12", backend: "fentry", response: &RESPONSES[0] };
        let mut figures = Figures::new(place, "6.12.1".to_owned(), 1);
        let cost = |(state, total): &(&str, f64)| ((*state).to_owned(), Cost { total: *total, agent: 0.0 });
        figures.costs.extend(states.iter().map(cost));
        missed(&figures).len()
    }

    #[test]
    fn http2_is_compared_with_http1_each_over_its_own_nothing() {
        let http1 = [("nothing", 28_000.0), ("server", 36_000.0), ("http2_nothing", 7_000.0)];
        let with = |http2| missed_of(&[&http1[..], &[("http2_server", http2)]].concat());
        assert_eq!((with(18_900.0), with(19_100.0)), (0, 1));
        assert_eq!(missed_of(&[("nothing", 28_000.0), ("server", 37_100.0)]), 1);
    }

    #[test]
    fn maps_have_a_size_that_they_must_not_pass() {
        let place = Place { kernel: "6.12", backend: "fentry", response: &RESPONSES[0] };
        let missed_with = |bytes: u64| {
            let mut figures = Figures::new(place, "6.12.1".to_owned(), 1);
            figures.single.insert("maps".to_owned(), bytes);
            missed(&figures).len()
        };
        assert_eq!((missed_with(MAPS_BYTES), missed_with(MAPS_BYTES + 1)), (0, 1));
    }
}
