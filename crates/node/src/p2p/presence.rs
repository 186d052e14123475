//! Where members are: signed by the member, kept in a bounded table.
//!
//! A presence item says "member M of group G is at peer P, reachable at these addresses, as of
//! time T". A newer item of the same member replaces an older one. Members that this node has
//! itself addressed are never pushed out by strangers.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use prost::Message as _;
use quorate_crypto::hash::{Digest, Hasher};
use quorate_crypto::member::{MemberKey, MemberPublicKey};
use quorate_ledger::ids::GroupId;

/// Longest encoding of an item.
pub const MAX_ITEM: usize = 8 * 1024;
/// Most addresses in an item.
const MAX_ADDRESSES: usize = 16;
/// Longest address.
const MAX_ADDRESS: usize = 256;
/// Most members kept per group; the one heard of longest ago goes first.
const MAX_MEMBERS: usize = 1024;
/// Most members per group protected because this node addressed them.
const MAX_WANTED: usize = 256;
/// An item may be this far ahead of the own clock.
const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(bytes = "vec", tag = "1")]
    group: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    member: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    peer: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    addresses: Vec<Vec<u8>>,
    #[prost(uint64, tag = "5")]
    time_ms: u64,
    #[prost(bytes = "vec", tag = "6")]
    signature: Vec<u8>,
}

impl Wire {
    fn digest(&self) -> Digest {
        let hasher = Hasher::new("quorate.presence.v1")
            .field(&self.group)
            .field(&self.member)
            .field(&self.peer)
            .u64(self.time_ms)
            .u64(self.addresses.len() as u64);
        self.addresses.iter().fold(hasher, |hasher, address| hasher.field(address)).finish()
    }
}

/// Where a member is; its signature has been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Presence {
    /// The group.
    pub group: GroupId,
    /// The member.
    pub member: MemberPublicKey,
    /// The peer that holds its key.
    pub peer: PeerId,
    /// Where that peer listens.
    pub addresses: Vec<Multiaddr>,
    /// When the member said so, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Presence {
    /// Signs an item.
    pub fn sign(
        group: GroupId,
        key: &MemberKey,
        peer: PeerId,
        addresses: &[Multiaddr],
        time_ms: u64,
    ) -> Vec<u8> {
        let mut wire = Wire {
            group: group.0.as_bytes().to_vec(),
            member: key.public().as_bytes().to_vec(),
            peer: peer.to_bytes(),
            addresses: addresses.iter().take(MAX_ADDRESSES).map(Multiaddr::to_vec).collect(),
            time_ms,
            signature: Vec::new(),
        };
        wire.addresses.retain(|address| address.len() <= MAX_ADDRESS);
        wire.signature = key.sign(&wire.digest()).0.to_vec();
        wire.encode_to_vec()
    }

    /// Reads and checks an item; `None` for anything malformed or wrongly signed.
    pub fn open(bytes: &[u8], now_ms: u64) -> Option<Self> {
        if bytes.len() > MAX_ITEM {
            return None;
        }
        let wire = Wire::decode(bytes).ok()?;
        let fits = wire.addresses.len() <= MAX_ADDRESSES
            && wire.addresses.iter().all(|a| a.len() <= MAX_ADDRESS)
            && wire.time_ms <= now_ms.saturating_add(MAX_AHEAD_MS);
        if !fits {
            return None;
        }
        let member = MemberPublicKey::from_bytes(&wire.member).ok()?;
        if !member.verify(&wire.digest(), &wire.signature) {
            return None;
        }
        let addresses = wire
            .addresses
            .iter()
            .map(|a| Multiaddr::try_from(a.clone()).ok())
            .collect::<Option<_>>()?;
        Some(Self {
            group: GroupId(uuid::Uuid::from_slice(&wire.group).ok()?),
            member,
            peer: PeerId::from_bytes(&wire.peer).ok()?,
            addresses,
            time_ms: wire.time_ms,
        })
    }
}

/// What became of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learnt {
    /// The member was unknown or has moved.
    New,
    /// Nothing changed but the time.
    Refreshed,
    /// A newer item is known.
    Stale,
}

/// Members of one group.
#[derive(Debug, Default)]
pub struct Table {
    members: BTreeMap<MemberPublicKey, Presence>,
    wanted: BTreeSet<MemberPublicKey>,
}

impl Table {
    /// Takes an item.
    pub fn learn(&mut self, item: Presence) -> Learnt {
        match self.members.get_mut(&item.member) {
            Some(known) if known.time_ms >= item.time_ms => Learnt::Stale,
            Some(known) => {
                let moved = known.peer != item.peer || known.addresses != item.addresses;
                *known = item;
                if moved { Learnt::New } else { Learnt::Refreshed }
            }
            None => {
                if self.members.len() >= MAX_MEMBERS {
                    self.forget_oldest();
                }
                self.members.insert(item.member, item);
                Learnt::New
            }
        }
    }

    /// Where a member is; remembers that somebody wanted to know.
    pub fn find(&mut self, member: &MemberPublicKey) -> Option<&Presence> {
        if self.wanted.len() < MAX_WANTED {
            self.wanted.insert(*member);
        }
        self.members.get(member)
    }

    /// Whether this node has addressed a member at this peer.
    pub fn wants(&self, peer: &PeerId) -> bool {
        self.wanted.iter().any(|m| self.members.get(m).is_some_and(|p| p.peer == *peer))
    }

    /// All members known.
    pub fn iter(&self) -> impl Iterator<Item = &Presence> {
        self.members.values()
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .members
            .values()
            .filter(|item| !self.wanted.contains(&item.member))
            .min_by_key(|item| item.time_ms)
            .map(|item| item.member);
        if let Some(member) = oldest {
            self.members.remove(&member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Learnt, MAX_MEMBERS, Presence, Table};
    use libp2p::{Multiaddr, PeerId};
    use quorate_crypto::member::MemberKey;
    use quorate_ledger::ids::GroupId;
    use uuid::Uuid;

    fn key(n: u16) -> MemberKey {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        MemberKey::from_bytes(&bytes).expect("a good number")
    }

    fn item(key: &MemberKey, time_ms: u64) -> Vec<u8> {
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/7002".parse().expect("an address");
        let peer = PeerId::from_bytes(&[0, 3, 1, 2, 3]).expect("a peer id");
        Presence::sign(GroupId(Uuid::from_u128(1)), key, peer, &[address], time_ms)
    }

    #[test]
    fn an_item_is_bound_to_its_signer() {
        let bytes = item(&key(1), 1000);
        let open = Presence::open(&bytes, 1000).expect("good");
        assert_eq!(open.member, key(1).public());
        assert_eq!(open.addresses.len(), 1);
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            // The recovery byte of the signature is not checked by anybody.
            let same = Presence::open(&altered, 1000);
            assert!(same.is_none() || at == bytes.len() - 1, "byte {at}");
        }
        assert!(Presence::open(&item(&key(1), 10_000_000), 0).is_none(), "from the far future");
        assert!(Presence::open(&[0xff; 100], 0).is_none());
    }

    #[test]
    fn newer_replaces_older() {
        let mut table = Table::default();
        let open = |time| Presence::open(&item(&key(1), time), time).expect("good");
        assert_eq!(table.learn(open(5)), Learnt::New);
        assert_eq!(table.learn(open(5)), Learnt::Stale);
        assert_eq!(table.learn(open(4)), Learnt::Stale);
        assert_eq!(table.learn(open(6)), Learnt::Refreshed);
    }

    #[test]
    fn strangers_cannot_push_out_who_is_addressed() {
        let mut table = Table::default();
        let open = |n, time| Presence::open(&item(&key(n), time), time).expect("good");
        table.learn(open(0, 1));
        assert!(table.find(&key(0).public()).is_some());
        for n in 1..=(MAX_MEMBERS as u16 + 10) {
            table.learn(open(n, 100 + u64::from(n)));
        }
        assert_eq!(table.iter().count(), MAX_MEMBERS);
        assert!(table.find(&key(0).public()).is_some());
        assert!(table.find(&key(1).public()).is_none());
    }
}
