//! Announcements: a member says that it is a user or offers to be a producer.
//!
//! The announcer signs SHA-256 of the item without its fields 5 and 6.

use prost::Message as _;
use quorate_crypto::hash::{Digest, sha256};
use quorate_crypto::member::{MemberKey, MemberPublicKey};

use crate::ids::GroupId;
use crate::proto::{ActionType, AnnounceContent, AnnounceItem, AnnounceType};

/// Memo of the owner's own announcement, made with the group.
pub const OWNER_MEMO: &str = "owner announce as the first group producer";

/// Memo of the owner as the group's first producer in the consensus info (spelling of seed 001).
pub const OWNER_PRODUCER_MEMO: &str = "Owner Registated as the first group producer";

/// Longest memo, in bytes.
pub const MAX_MEMO: usize = 4096;
/// Longest encryption key text, in bytes.
pub const MAX_ENCRYPT_KEY: usize = 256;

/// Why an announcement is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    /// It belongs to another group.
    #[error("the announcement belongs to another group")]
    Group,
    /// A field is missing, too long or has an unknown value.
    #[error("announcement: wrong {0}")]
    Field(&'static str),
    /// The announcer is not the member announced.
    #[error("a member announces itself only")]
    Announcer,
    /// The hash is not the item's.
    #[error("announcement: the hash differs")]
    Hash,
    /// The signature is not the announcer's.
    #[error("announcement: the signature is not valid")]
    Signature,
}

impl AnnounceItem {
    /// What the announcer signs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let signed = Self { hash: Vec::new(), signature: Vec::new(), ..self.clone() };
        sha256(&signed.encode_to_vec())
    }
}

/// What a member announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// Add or remove.
    pub action: ActionType,
    /// As user or as producer.
    pub kind: AnnounceType,
    /// Its age recipient.
    pub encrypt_pubkey: String,
    /// Free text.
    pub memo: String,
}

/// Makes and signs an announcement.
#[must_use]
pub fn build(key: &MemberKey, group: GroupId, announcement: &Announcement) -> AnnounceItem {
    let member = key.public().to_string();
    let mut item = AnnounceItem {
        group_id: group.to_string(),
        action: announcement.action as i32,
        content: Some(AnnounceContent {
            r#type: announcement.kind as i32,
            sign_pubkey: member.clone(),
            encrypt_pubkey: announcement.encrypt_pubkey.clone(),
            memo: announcement.memo.clone(),
        }),
        announcer_pubkey: member,
        ..AnnounceItem::default()
    };
    let digest = item.digest();
    item.hash = digest.0.to_vec();
    item.signature = key.sign(&digest).0.to_vec();
    item
}

/// The owner's announcement as the group's first producer.
#[must_use]
pub fn build_owner(owner: &MemberKey, group: GroupId, encrypt_pubkey: &str) -> AnnounceItem {
    let announcement = Announcement {
        action: ActionType::Add,
        kind: AnnounceType::AsProducer,
        encrypt_pubkey: encrypt_pubkey.to_owned(),
        memo: OWNER_MEMO.to_owned(),
    };
    build(owner, group, &announcement)
}

/// A checked announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Who announced itself.
    pub member: MemberPublicKey,
    /// What.
    pub announcement: Announcement,
}

/// Checks an announcement.
///
/// # Errors
/// [`AnnounceError`].
pub fn verify(item: &AnnounceItem, group: GroupId) -> Result<Announced, AnnounceError> {
    let field = AnnounceError::Field;
    if item.group_id != group.to_string() {
        return Err(AnnounceError::Group);
    }
    let content = item.content.as_ref().ok_or(field("Content"))?;
    let action = ActionType::try_from(item.action).map_err(|_| field("Action"))?;
    let kind = AnnounceType::try_from(content.r#type).map_err(|_| field("Type"))?;
    if content.memo.len() > MAX_MEMO {
        return Err(field("Memo"));
    }
    if content.encrypt_pubkey.len() > MAX_ENCRYPT_KEY {
        return Err(field("EncryptPubkey"));
    }
    if item.announcer_pubkey != content.sign_pubkey {
        return Err(AnnounceError::Announcer);
    }
    let member: MemberPublicKey =
        item.announcer_pubkey.parse().map_err(|_| field("AnnouncerPubkey"))?;
    if member.to_string() != item.announcer_pubkey {
        return Err(field("AnnouncerPubkey"));
    }
    let digest = item.digest();
    if item.hash != digest.0 {
        return Err(AnnounceError::Hash);
    }
    if item.signature.len() != crate::trx::SIGNATURE || !member.verify(&digest, &item.signature) {
        return Err(AnnounceError::Signature);
    }
    let announcement = Announcement {
        action,
        kind,
        encrypt_pubkey: content.encrypt_pubkey.clone(),
        memo: content.memo.clone(),
    };
    Ok(Announced { member, announcement })
}

#[cfg(test)]
#[path = "announce_tests.rs"]
mod tests;
