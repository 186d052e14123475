//! Key generation without a trusted dealer, in the order a consensus change runs it.
//!
//! 1. Every player offers the Ed25519 key it will use in the new view ([`crate::view`]).
//! 2. When all offers are known each player opens a [`KeyGeneration`] with the same `context` and
//!    players, and sends every other player its [`KeyGeneration::dealing`].
//! 3. A player that checked (and persisted) a dealing answers with an acknowledgement.
//! 4. With the acknowledgements in, the dealer closes its [`KeyGeneration::log`], which travels in
//!    its signed response to the change request.
//! 5. From the agreed logs of *all* players each player derives its keys, and anybody the public
//!    key material, with [`KeyGeneration::finish`] and [`KeyGeneration::observe`].
//!
//! A dealer's polynomial is drawn from a seed that is persisted before anything is sent, so that a
//! restarted player regenerates the same dealings. Received dealings are persisted by the caller
//! before the acknowledgement leaves.

use std::collections::BTreeMap;

use crate::threshold::NodeIndex;
use crate::view::{ViewKey, ViewPublicKey};

/// What one dealer sends one player. Carries a secret: it must travel encrypted to the player.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dealing {
    /// Commitment of the dealer's polynomial, the same for every player.
    pub commitment: Vec<u8>,
    /// The player's evaluation of the polynomial.
    pub evaluation: Vec<u8>,
}

/// Why key generation refused an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeygenError {
    /// The players cannot form a round (none, too many, or a key twice).
    #[error("bad key generation round: {0}")]
    Round(String),
    /// A dealing, acknowledgement or log of this player is malformed or wrong.
    #[error("key generation: wrong {what} of member {from}: {why}")]
    Peer {
        /// Who sent it.
        from: NodeIndex,
        /// "dealing", "acknowledgement" or "log".
        what: &'static str,
        /// Detail for the operator.
        why: String,
    },
    /// The logs given do not make a key.
    #[error("key generation did not succeed: {0}")]
    Failed(String),
}

/// One player's side of one round of key generation.
pub trait KeyGeneration: Sized + Send + 'static {
    /// What the round makes for a player or an observer.
    type Keys: Clone + Send + 'static;

    /// Opens a round. `context` names it (group and request hash), `players` are the view keys in
    /// committee order; `key` must be the secret key of one of them; `seed` is fresh, persisted
    /// randomness for this round.
    ///
    /// # Errors
    /// [`KeygenError::Round`].
    fn open(
        context: &[u8],
        players: &[ViewPublicKey],
        key: &ViewKey,
        seed: [u8; 32],
    ) -> Result<Self, KeygenError>;

    /// What this player deals to `to` (itself included). The same on every call.
    fn dealing(&self, to: NodeIndex) -> Option<Dealing>;

    /// Takes a dealing of `from` and returns the acknowledgement for it. Taking the same dealing
    /// again returns the same acknowledgement; a second, different one of the same dealer is
    /// refused.
    ///
    /// # Errors
    /// [`KeygenError::Peer`].
    fn receive_dealing(
        &mut self,
        from: NodeIndex,
        dealing: &Dealing,
    ) -> Result<Vec<u8>, KeygenError>;

    /// Takes an acknowledgement of this player's own dealing.
    ///
    /// # Errors
    /// [`KeygenError::Peer`].
    fn receive_ack(&mut self, from: NodeIndex, ack: &[u8]) -> Result<(), KeygenError>;

    /// Whether all players (itself included) have acknowledged this player's dealing.
    fn acknowledged_by_all(&self) -> bool;

    /// This player's signed log. Reveals the evaluations of players that did not acknowledge.
    fn log(&self) -> Vec<u8>;

    /// Derives this player's keys from the logs of all players.
    ///
    /// # Errors
    /// [`KeygenError::Peer`] for a log that does not verify, [`KeygenError::Failed`].
    fn finish(&self, logs: &BTreeMap<NodeIndex, Vec<u8>>) -> Result<Self::Keys, KeygenError>;

    /// Derives an observer's keys (public material alone) from the logs of all players; this is
    /// also how anybody verifies a round.
    ///
    /// # Errors
    /// As for [`KeyGeneration::finish`].
    fn observe(
        context: &[u8],
        players: &[ViewPublicKey],
        logs: &BTreeMap<NodeIndex, Vec<u8>>,
    ) -> Result<Self::Keys, KeygenError>;

    /// Writes the secret keys for the node's vault.
    fn encode_keys(keys: &Self::Keys) -> Vec<u8>;

    /// Reads what [`KeyGeneration::encode_keys`] wrote; `None` if it is not that.
    fn decode_keys(bytes: &[u8]) -> Option<Self::Keys>;
}
