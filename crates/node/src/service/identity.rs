//! What a member keeps in the keystore: who it is, and what it was admitted with.

use std::sync::Arc;

use quorate_ledger::ids::GroupId;
use quorate_replica::cft::api::Admission;

use super::keys::membership;
use crate::keystore::{Keystore, KeystoreError, Membership, ServiceKeys};

/// A member's place in the keystore.
pub struct Identity {
    keystore: Arc<Keystore>,
    group: GroupId,
}

impl Identity {
    /// That of a group.
    pub const fn new(keystore: Arc<Keystore>, group: GroupId) -> Self {
        Self { keystore, group }
    }

    /// What there is.
    ///
    /// # Errors
    /// The keystore's.
    pub fn read(&self) -> Result<Option<ServiceKeys>, KeystoreError> {
        self.keystore.service_keys(self.group)
    }

    /// Keeps it durably, in place of what there was.
    ///
    /// # Errors
    /// The keystore's.
    pub fn write(&self, keys: &ServiceKeys) -> Result<(), KeystoreError> {
        self.keystore.set_service_keys(self.group, keys)
    }

    /// Forgets it: this node will be another one.
    ///
    /// # Errors
    /// The keystore's.
    pub fn forget(&self) -> Result<(), KeystoreError> {
        self.keystore.remove_service_keys(self.group)
    }

    /// Keeps durably what the service gave this node.
    ///
    /// # Errors
    /// The keystore's.
    pub fn admitted(&self, admission: Admission) -> Result<(), KeystoreError> {
        let mut keys = self.read()?.ok_or_else(|| KeystoreError::Damaged {
            path: self.keystore.service_path(self.group),
        })?;
        keys.membership = Some(membership(admission.service, &admission.secret));
        self.write(&keys)
    }

    /// The log has an entry.
    ///
    /// # Errors
    /// The keystore's.
    pub fn began(&self) -> Result<(), KeystoreError> {
        match self.read()? {
            Some(ServiceKeys { node_key, membership: Some(kept) }) if !kept.began => {
                let membership = Some(Membership { began: true, ..kept });
                self.write(&ServiceKeys { node_key, membership })
            }
            _ => Ok(()),
        }
    }
}
