// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What Onlooker may cost over nothing, in instructions a request, and where it wants to be: for small requests on Linux
//! 6.12.

use super::figures::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// More is a defect.
    pub must: u32,
    pub aim: u32,
}

/// By state; fentry, kprobe, syscall.
const AIMS: [(&str, [(u32, u32); 3]); 4] = [
    ("unwatched", [(1_300, 900), (3_300, 2_800), (1_800, 1_200)]),
    ("uninteresting", [(1_900, 1_300), (4_000, 3_300), (3_000, 2_200)]),
    ("server", [(9_000, 5_500), (12_000, 8_000), (11_000, 7_500)]),
    ("both", [(16_000, 10_000), (20_000, 14_500), (19_000, 13_500)]),
];

pub fn aim(place: Place, state: &str) -> Option<Aim> {
    if place.kernel != "6.12" || place.response.name != "small" {
        return None;
    }
    let backend = super::BACKENDS.iter().position(|backend| *backend == place.backend)?;
    let (_, by_backend) = AIMS.iter().find(|(name, _)| *name == state)?;
    let (must, aim) = by_backend[backend];
    Some(Aim { must, aim })
}
