// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How far one direction of a connection has been delivered, in positions modulo 2³².
//!
//! In: positions of records. Out: how far they are ahead or behind. Does not: see bytes.

/// Positions up to this far ahead are ahead; the rest of the circle is behind. Larger: a duplicate from further back is
/// taken for a gap of gigabytes. Smaller: that much lost at once is taken for a duplicate, and the direction stands still.
const AHEAD_BYTES: u32 = 3 << 30;

/// Where a direction stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing is known.
    #[default]
    Unknown,
    /// It stood here when the other direction's first record was written. Bytes before may still be on their way, so its
    /// own first record may begin earlier.
    AtMost(u32),
    /// The next byte's position.
    Next(u32),
}

impl Place {
    pub const fn position(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::AtMost(position) | Self::Next(position) => position,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    pub place: Place,
    /// The half-turn of the last piece; 0 before the first.
    pub turn: u32,
    pub ended: bool,
    /// Its first record has come and was not delivered yet: whether bytes were lost before it is not known.
    pub unverified: bool,
}

impl Flow {
    /// Takes the direction to `position`. Positive: so many bytes were stepped over. Negative: it stood further already,
    /// by so many, and still does.
    pub fn step_to(&mut self, position: u32) -> i64 {
        let distance = match self.place {
            Place::Unknown => 0,
            Place::AtMost(place) => distance(place, position).max(0),
            Place::Next(place) => distance(place, position),
        };
        if distance >= 0 {
            self.place = Place::Next(position);
        }
        distance
    }

    /// Everything before `target` was delivered.
    pub fn has_reached(&self, target: u32) -> bool {
        matches!(self.place, Place::Next(place) if distance(place, target) <= 0)
    }

    /// A record of this direction that begins at `position` will bring nothing more of what lies before `target`.
    pub fn overtaken(&self, target: u32, position: u32) -> bool {
        self.has_reached(target) || distance(target, position) >= 0
    }
}

/// From `from` to `to`; negative where `to` lies behind.
pub(super) fn distance(from: u32, to: u32) -> i64 {
    let ahead = to.wrapping_sub(from);
    if ahead < AHEAD_BYTES { i64::from(ahead) } else { i64::from(ahead) - (1 << 32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_cross_the_wrap() {
        assert_eq!(distance(u32::MAX, 1), 2);
        assert_eq!(distance(1, u32::MAX), -2);
        assert_eq!(distance(5, 5), 0);
    }

    #[test]
    fn a_first_record_may_begin_before_the_place_the_other_direction_saw() {
        let mut flow = Flow { place: Place::AtMost(100), ..Flow::default() };
        assert_eq!(flow.step_to(40), 0);
        assert_eq!(flow.place, Place::Next(40));
        let mut flow = Flow { place: Place::AtMost(100), ..Flow::default() };
        assert_eq!(flow.step_to(130), 30);
    }

    #[test]
    fn a_duplicate_moves_nothing() {
        let mut flow = Flow { place: Place::Next(100), ..Flow::default() };
        assert_eq!(flow.step_to(90), -10);
        assert_eq!(flow.place, Place::Next(100));
    }
}
