//! The only crate that names outside cryptography.
//!
//! | module | what it gives |
//! |---|---|
//! | [`hash`] | SHA-256 digests and a canonical, length-prefixed hasher |
//! | [`mac`] | HMAC-SHA-256 |
//! | [`member`] | secp256k1 keys of group members: signatures of trxs, requests, announces; Ethereum addresses |
//! | [`made`] | signatures that were made in this thread need not be checked in it |
//! | [`ec`] | ECDSA keys of the nodes and services of `cft` groups |
//! | [`x509`] | their certificates |
//! | [`cose`] | COSE signatures of their ledgers' roots, and receipts |
//! | [`view`] | Ed25519 consensus keys of one view: envelopes and certificates |
//! | [`cipher`] | AES-256-GCM sealing with a 32-byte key |
//! | [`recipient`] | age (X25519) encryption to members, and password encryption of files at rest |
//! | [`threshold`] | threshold coin and threshold encryption: what a committee's joint key can do |
//! | [`keygen`] | key generation without a trusted dealer |
//! | [`bls`] | both of the above on BLS12-381 |
//! | [`erasure`] | Reed-Solomon shards for reliable broadcast |
pub mod bls;
pub mod cipher;
pub mod cose;
pub mod ec;
pub mod erasure;
pub mod hash;
pub mod keygen;
pub mod mac;
pub mod made;
pub mod member;
pub mod recipient;
pub mod threshold;
pub mod view;
pub mod x509;
