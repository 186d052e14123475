//! Posts signed before the measurement, so that signing is not measured.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_crypto::cipher::SymmetricKey;
use quorate_crypto::member::MemberKey;
use quorate_ledger::ids::{GroupId, TrxId};
use quorate_ledger::trx::{self, TrxType};
use serde_json::{Value, json};
use uuid::Uuid;

/// A signed post.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Id of its trx.
    pub id: Uuid,
    /// What the API is sent.
    pub body: Value,
}

/// What posts are made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The group.
    pub group: GroupId,
    /// Its cipher key.
    pub cipher: &'a SymmetricKey,
    /// Bytes of payload of each.
    pub size: usize,
    /// Members that sign, in turn.
    pub members: usize,
}

/// Makes posts on two threads.
#[must_use]
pub fn posts(recipe: Recipe<'_>, count: usize) -> Vec<Signed> {
    let keys: Vec<MemberKey> =
        (0..recipe.members.max(1)).map(|_| MemberKey::generate(&mut rand::rng())).collect();
    let half = count / 2;
    let keys = &keys;
    thread::scope(|scope| {
        let first = scope.spawn(move || some(recipe, keys, 0..half));
        let mut second = some(recipe, keys, half..count);
        let mut all = first.join().expect("signing does not fail");
        all.append(&mut second);
        all
    })
}

fn some(recipe: Recipe<'_>, keys: &[MemberKey], range: std::ops::Range<usize>) -> Vec<Signed> {
    let mut rng = rand::rng();
    range
        .map(|n| {
            let payload = payload(n, recipe.size);
            let id = Uuid::new_v4();
            let data = trx::encrypt_payload(recipe.cipher, &mut rng, &payload);
            let key = &keys[n % keys.len()];
            sign(recipe.group, id, key, data)
        })
        .collect()
}

/// A JSON object of exactly so many bytes (if that is at least 40).
fn payload(n: usize, size: usize) -> Vec<u8> {
    let start = format!(r#"{{"type":"Note","n":{n},"content":""#);
    let fill = size.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(fill)).into_bytes()
}

fn sign(group: GroupId, id: Uuid, key: &MemberKey, data: Vec<u8>) -> Signed {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    // 0: never expires, so that posts signed minutes ahead stay good.
    let trx = trx::build(key, group, TrxType::Post, data, TrxId(id), now, 0);
    let body = json!({
        "trx_id": trx.trx_id,
        "data": STANDARD.encode(&trx.data),
        "timestamp": trx.time_stamp.to_string(),
        "version": trx.version,
        "sender_pubkey": trx.sender_pubkey,
        "sender_sign": STANDARD.encode(&trx.sender_sign),
    });
    Signed { id, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_the_size_asked_for() {
        let bytes = payload(123_456, 256);
        assert_eq!(bytes.len(), 256);
        let value: Value = serde_json::from_slice(&bytes).expect("it is JSON");
        assert_eq!(value["n"], 123_456);
    }
}
