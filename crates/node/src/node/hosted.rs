//! A group of any kind, on this node.

use std::sync::Arc;

use quorate_ledger::group::GroupDescriptor;
use quorate_ledger::ids::GroupId;

use crate::group::Group;
use crate::keystore::GroupKeys;
use crate::service::Service;

/// A group of any kind.
#[derive(Clone)]
pub enum Hosted {
    /// Ordered by producers (`poa`).
    Group(Arc<Group>),
    /// Ordered by a leader (`cft`).
    Service(Arc<Service>),
}

impl Hosted {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.descriptor().id
    }

    /// What its seed says.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        match self {
            Self::Group(group) => group.descriptor(),
            Self::Service(service) => service.descriptor(),
        }
    }

    /// This node's keys in it.
    #[must_use]
    pub fn keys(&self) -> &GroupKeys {
        match self {
            Self::Group(group) => group.keys(),
            Self::Service(service) => service.keys(),
        }
    }

    /// Whether this node's member owns it.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.keys().member.public() == self.descriptor().owner
    }

    /// It as a service.
    #[must_use]
    pub const fn service(&self) -> Option<&Arc<Service>> {
        match self {
            Self::Service(service) => Some(service),
            Self::Group(_) => None,
        }
    }

    /// Whether what a new group begins with is durable.
    pub(super) fn is_durable(&self) -> bool {
        match self {
            Self::Group(group) => group.live().status.ready,
            Self::Service(service) => service.live().status.last.seqno > 0,
        }
    }

    /// Ends its thread; blocks until it is gone.
    pub(super) fn stop(&self) {
        match self {
            Self::Group(group) => group.stop(),
            Self::Service(service) => service.stop(),
        }
    }
}
