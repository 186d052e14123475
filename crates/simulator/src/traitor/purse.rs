//! What a traitor can sign with: its member key, and its keys of the views it produces in. They are
//! taken from a copy of its disk, as a thief would.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_consensus::core::Message;
use quorate_crypto::member::MemberKey;
use quorate_crypto::threshold::NodeIndex;
use quorate_crypto::view::ViewKey;
use quorate_ledger::ids::GroupId;
use quorate_ledger::view::View;
use quorate_replica::wire::{self, Inbound, Packet, VerifyContext};

/// A view's seat: whose it is, and the key that signs for it.
#[derive(Clone)]
pub struct Seat {
    /// The view.
    pub view: Arc<View>,
    /// The traitor's position in it.
    pub me: NodeIndex,
    /// Its key of the view.
    pub key: ViewKey,
}

/// A traitor's keys in one group.
#[derive(Clone)]
pub struct Purse {
    /// The group.
    pub group: GroupId,
    /// Its member key.
    pub member: MemberKey,
    /// Its seats, the latest view's last. A view that has ended keeps its seat: a thief erases
    /// nothing.
    pub seats: Vec<Seat>,
}

impl Purse {
    /// No seats yet.
    #[must_use]
    pub const fn new(group: GroupId, member: MemberKey) -> Self {
        Self { group, member, seats: Vec::new() }
    }

    /// Takes the keys of these views out of a store's secrets.
    pub fn steal(&mut self, views: &[Arc<View>], secrets: &BTreeMap<String, Vec<u8>>) {
        for view in views {
            let known = self.seats.iter().any(|seat| seat.view.number == view.number);
            let secret = secrets.get(&format!("view-{}", view.number));
            let seed = secret.and_then(|bytes| bytes.first_chunk::<32>());
            if let (false, Some(seed), Some(me)) =
                (known, seed, view.index_of(&self.member.public()))
            {
                let key = ViewKey::from_seed(seed);
                self.seats.push(Seat { view: Arc::clone(view), me, key });
            }
        }
    }

    /// The latest view's seat.
    #[must_use]
    pub fn seat(&self) -> Option<&Seat> {
        self.seats.last()
    }

    /// What a packet says, if it is a good one of a view the traitor knows.
    #[must_use]
    pub fn open<M: Message>(&self, packet: &Packet) -> Option<Inbound<M>> {
        let views = self.seats.iter().map(|seat| Arc::clone(&seat.view)).collect();
        let context = VerifyContext { group: self.group, views, known: None };
        wire::verify_held(packet, &context).ok()
    }

    /// A frame of these payloads, said to be by `sender`, signed by the traitor.
    #[must_use]
    pub fn frame(&self, seat: &Seat, sender: NodeIndex, payloads: &[(u8, Vec<u8>)]) -> Packet {
        let payloads: Vec<&(u8, Vec<u8>)> = payloads.iter().collect();
        wire::encode_committee(&self.group, seat.view.number, sender, &seat.key, &payloads)
    }
}
