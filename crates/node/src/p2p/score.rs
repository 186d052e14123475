//! How peers behave: points for faults, a ban above a limit, points fade with time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// A peer with so many points is banned.
const LIMIT: f64 = 100.0;
/// Points that fade per second.
const FADE: f64 = 1.0;
/// How long a ban lasts.
const BAN: Duration = Duration::from_secs(600);
/// Most peers kept in mind; when reached, those with the fewest points are forgotten.
const MAX_PEERS: usize = 4096;

/// What a peer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misdeed {
    /// A packet, frame or item that does not decode or verify.
    Malformed,
    /// Something for a group that this node is not in.
    UnknownGroup,
}

impl Misdeed {
    const fn points(self) -> f64 {
        match self {
            Self::Malformed => 25.0,
            Self::UnknownGroup => 1.0,
        }
    }
}

#[derive(Debug)]
struct Entry {
    points: f64,
    at: Instant,
}

/// Points and bans of all peers.
#[derive(Debug, Default)]
pub struct Scores {
    points: BTreeMap<PeerId, Entry>,
    bans: BTreeMap<PeerId, Instant>,
}

impl Scores {
    /// Notes a misdeed; true if the peer is to be banned now.
    pub fn note(&mut self, peer: PeerId, misdeed: Misdeed, now: Instant) -> bool {
        if self.bans.contains_key(&peer) {
            return false;
        }
        if self.points.len() >= MAX_PEERS && !self.points.contains_key(&peer) {
            self.forget_best();
        }
        let entry = self.points.entry(peer).or_insert(Entry { points: 0.0, at: now });
        let faded = now.saturating_duration_since(entry.at).as_secs_f64() * FADE;
        entry.points = (entry.points - faded).max(0.0) + misdeed.points();
        entry.at = now;
        if entry.points < LIMIT {
            return false;
        }
        self.points.remove(&peer);
        self.bans.insert(peer, now + BAN);
        true
    }

    /// Peers whose ban is over.
    pub fn pardoned(&mut self, now: Instant) -> Vec<PeerId> {
        let over: Vec<PeerId> =
            self.bans.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in &over {
            self.bans.remove(peer);
        }
        over
    }

    /// Whether a peer is banned.
    pub fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.contains_key(peer)
    }

    fn forget_best(&mut self) {
        let best = self.points.iter().min_by(|a, b| a.1.points.total_cmp(&b.1.points));
        if let Some(peer) = best.map(|(peer, _)| *peer) {
            self.points.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BAN, Misdeed, Scores};
    use libp2p::PeerId;
    use std::time::{Duration, Instant};

    #[test]
    fn malformed_packets_ban_and_time_heals() {
        let mut scores = Scores::default();
        let peer = PeerId::random();
        let start = Instant::now();
        let mut banned = Vec::new();
        for _ in 0..6 {
            banned.push(scores.note(peer, Misdeed::Malformed, start));
        }
        assert_eq!(banned, [false, false, false, true, false, false]);
        assert!(scores.is_banned(&peer));
        assert!(scores.pardoned(start + BAN - Duration::from_secs(1)).is_empty());
        assert_eq!(scores.pardoned(start + BAN), [peer]);
        assert!(!scores.is_banned(&peer));
    }

    #[test]
    fn slow_faults_fade() {
        let mut scores = Scores::default();
        let peer = PeerId::random();
        let start = Instant::now();
        for n in 0..100 {
            assert!(!scores.note(peer, Misdeed::Malformed, start + Duration::from_secs(30 * n)));
        }
    }
}
