//! COSE_Sign1 over the root of a Merkle tree, and receipts made of it.
//!
//! The payload, the root, is detached: whoever verifies computes it. A receipt is the same signature
//! with the way from a leaf to the root in its unprotected header (draft-ietf-cose-merkle-tree-proofs,
//! with the tree of draft-birkholz-cose-receipts-ccf-profile).

use ciborium::Value;
use coset::iana;
use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label,
    RegisteredLabelWithPrivate, TaggedCborSerializable as _,
};

use crate::ec::{Curve, EcKey, EcPublic};
use crate::hash::{Digest, sha256, sha256_concat};

/// Longest signature or receipt read, in bytes.
pub const MAX_COSE: usize = 64 * 1024;
/// Most steps of a path, and most proofs in a receipt.
const MAX_PATH: usize = 64;
const MAX_PROOFS: usize = 16;

const CWT_CLAIMS: i64 = 15;
const CWT_ISSUER: i64 = 1;
const CWT_SUBJECT: i64 = 2;
const CWT_ISSUED_AT: i64 = 6;
/// Kind of verifiable data structure, and its number for ledgers of this form.
const VDS: i64 = 395;
const VDS_LEDGER: i64 = 2;
/// Verifiable data proofs; inclusion proofs among them.
const VDP: i64 = 396;
const INCLUSION: i64 = -1;
const LEAF: i64 = 1;
const PATH: i64 = 2;
const LEDGER: &str = "ccf.v1";
const TXID: &str = "txid";

/// What a signature says beside the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RootClaims {
    /// Id of the signature transaction, `view.seqno`.
    pub txid: String,
    /// When it was signed, in seconds since 1970.
    pub issued_at: u64,
    /// Who says it.
    pub issuer: String,
    /// What about.
    pub subject: String,
}

/// Why a COSE message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoseError {
    /// The bytes are not a COSE_Sign1 of this form.
    #[error("not a COSE signature of a ledger's root: wrong {0}")]
    Malformed(&'static str),
    /// It is signed with another key.
    #[error("the COSE signature names another key")]
    OtherKey,
    /// The signature does not hold.
    #[error("the COSE signature is wrong")]
    Signature,
}

const fn wrong(what: &'static str) -> CoseError {
    CoseError::Malformed(what)
}

/// Where a leaf comes from, and its way to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inclusion {
    /// SHA-256 of the entry.
    pub write_set: Digest,
    /// The commit evidence.
    pub evidence: String,
    /// The claims digest.
    pub claims: Digest,
    /// Whether the sibling is on the left, and the sibling.
    pub path: Vec<(bool, Digest)>,
}

impl Inclusion {
    /// The root that the path leads to.
    #[must_use]
    pub fn root(&self) -> Digest {
        let evidence = sha256(self.evidence.as_bytes());
        let leaf = sha256_concat(&[&self.write_set.0, &evidence.0, &self.claims.0]);
        self.path.iter().fold(leaf, |below, (left, sibling)| match left {
            true => sha256_concat(&[&sibling.0, &below.0]),
            false => sha256_concat(&[&below.0, &sibling.0]),
        })
    }
}

const fn algorithm(curve: Curve) -> iana::Algorithm {
    match curve {
        Curve::P256 => iana::Algorithm::ES256,
        Curve::P384 => iana::Algorithm::ES384,
    }
}

/// Signs a root, detached.
///
/// # Panics
/// Never: all values can be encoded.
#[must_use]
pub fn sign_root(key: &EcKey, root: &Digest, claims: &RootClaims) -> Vec<u8> {
    let number = |number: i64| Value::Integer(number.into());
    let cwt = Value::Map(vec![
        (number(CWT_ISSUER), Value::Text(claims.issuer.clone())),
        (number(CWT_SUBJECT), Value::Text(claims.subject.clone())),
        (number(CWT_ISSUED_AT), Value::Integer(claims.issued_at.into())),
    ]);
    let ledger = Value::Map(vec![(Value::Text(TXID.into()), Value::Text(claims.txid.clone()))]);
    let header = HeaderBuilder::new()
        .algorithm(algorithm(key.public().curve()))
        .key_id(key.public().id().to_string().into_bytes())
        .value(CWT_CLAIMS, cwt)
        .value(VDS, number(VDS_LEDGER))
        .text_value(LEDGER.into(), ledger)
        .build();
    CoseSign1Builder::new()
        .protected(header)
        .create_detached_signature(&root.0, &[], |message| key.sign_fixed(message))
        .build()
        .to_tagged_vec()
        .expect("all values can be encoded")
}

/// Checks a detached signature of a root by a key.
///
/// # Errors
/// [`CoseError`].
pub fn verify_root(message: &[u8], root: &Digest, key: &EcPublic) -> Result<RootClaims, CoseError> {
    let signed = read(message)?;
    if !signed.unprotected.is_empty() {
        return Err(wrong("unprotected header"));
    }
    check(&signed, root, key)
}

/// A receipt: the signature of a root, and how a leaf belongs to it.
///
/// # Errors
/// [`CoseError::Malformed`] if `message` is no signature made by [`sign_root`].
///
/// # Panics
/// Never: all values can be encoded.
pub fn receipt(message: &[u8], inclusion: &Inclusion) -> Result<Vec<u8>, CoseError> {
    let mut signed = read(message)?;
    let path = inclusion.path.iter();
    let path = path.map(|(left, digest)| Value::Array(vec![Value::Bool(*left), bytes(digest)]));
    let leaf = Value::Array(vec![
        bytes(&inclusion.write_set),
        Value::Text(inclusion.evidence.clone()),
        bytes(&inclusion.claims),
    ]);
    let proof = Value::Map(vec![
        (Value::Integer(LEAF.into()), leaf),
        (Value::Integer(PATH.into()), Value::Array(path.collect())),
    ]);
    let proof = proof.to_vec().expect("all values can be encoded");
    let proofs = Value::Map(vec![(
        Value::Integer(INCLUSION.into()),
        Value::Array(vec![Value::Bytes(proof)]),
    )]);
    signed.unprotected = HeaderBuilder::new().value(VDP, proofs).build();
    Ok(signed.to_tagged_vec().expect("all values can be encoded"))
}

/// Checks a receipt by a key: what it says of a transaction.
///
/// # Errors
/// [`CoseError`].
pub fn verify_receipt(
    message: &[u8],
    key: &EcPublic,
) -> Result<(RootClaims, Vec<Inclusion>), CoseError> {
    let signed = read(message)?;
    let proofs = inclusions(&signed.unprotected)?;
    let mut claims = None;
    for proof in &proofs {
        claims = Some(check(&signed, &proof.root(), key)?);
    }
    Ok((claims.ok_or(wrong("proofs"))?, proofs))
}

fn bytes(digest: &Digest) -> Value {
    Value::Bytes(digest.0.to_vec())
}

/// Reads a message that is spelled as we would spell it.
fn read(message: &[u8]) -> Result<CoseSign1, CoseError> {
    if message.len() > MAX_COSE {
        return Err(wrong("length"));
    }
    let signed = CoseSign1::from_tagged_slice(message).map_err(|_| wrong("encoding"))?;
    if signed.payload.is_some() {
        return Err(wrong("payload"));
    }
    let again = signed.clone().to_tagged_vec().map_err(|_| wrong("encoding"))?;
    if again == message { Ok(signed) } else { Err(wrong("encoding")) }
}

/// Checks the protected header and the signature over a root.
fn check(signed: &CoseSign1, root: &Digest, key: &EcPublic) -> Result<RootClaims, CoseError> {
    let header = &signed.protected.header;
    let wanted = RegisteredLabelWithPrivate::Assigned(algorithm(key.curve()));
    if header.key_id != key.id().to_string().as_bytes() {
        return Err(CoseError::OtherKey);
    }
    if header.alg.as_ref() != Some(&wanted) || !header.crit.is_empty() {
        return Err(wrong("algorithm"));
    }
    if find(header, &Label::Int(VDS)).and_then(Value::as_integer) != Some(VDS_LEDGER.into()) {
        return Err(wrong("data structure"));
    }
    let claims = claims(header)?;
    signed.verify_detached_signature(&root.0, &[], |signature, message| {
        if key.verify_fixed(message, signature) { Ok(()) } else { Err(CoseError::Signature) }
    })?;
    Ok(claims)
}

fn claims(header: &Header) -> Result<RootClaims, CoseError> {
    let ledger = find(header, &Label::Text(LEDGER.into())).and_then(Value::as_map);
    let txid = ledger.and_then(|map| entry(map, &Value::Text(TXID.into()))?.as_text());
    let cwt = find(header, &Label::Int(CWT_CLAIMS)).and_then(Value::as_map);
    let cwt = cwt.ok_or(wrong("claims"))?;
    let text = |label: i64| {
        let text = entry(cwt, &Value::Integer(label.into())).and_then(Value::as_text);
        text.map(str::to_owned).ok_or(wrong("claims"))
    };
    let at = entry(cwt, &Value::Integer(CWT_ISSUED_AT.into())).and_then(Value::as_integer);
    Ok(RootClaims {
        txid: txid.ok_or(wrong("transaction id"))?.to_owned(),
        issued_at: at.and_then(|at| u64::try_from(at).ok()).ok_or(wrong("claims"))?,
        issuer: text(CWT_ISSUER)?,
        subject: text(CWT_SUBJECT)?,
    })
}

fn find<'a>(header: &'a Header, label: &Label) -> Option<&'a Value> {
    header.rest.iter().find(|(found, _)| found == label).map(|(_, value)| value)
}

fn entry<'a>(map: &'a [(Value, Value)], key: &Value) -> Option<&'a Value> {
    map.iter().find(|(found, _)| found == key).map(|(_, value)| value)
}

/// The inclusion proofs, which must be all there is.
fn inclusions(header: &Header) -> Result<Vec<Inclusion>, CoseError> {
    let malformed = wrong("proof");
    let only = Header { rest: header.rest.clone(), ..Header::default() };
    let [(Label::Int(VDP), Value::Map(proofs))] = &header.rest[..] else { return Err(malformed) };
    let [(label, Value::Array(proofs))] = &proofs[..] else { return Err(malformed) };
    let wanted = Value::Integer(INCLUSION.into());
    if *header != only || *label != wanted || proofs.is_empty() || proofs.len() > MAX_PROOFS {
        return Err(malformed);
    }
    proofs.iter().map(|proof| inclusion(proof).ok_or(malformed)).collect()
}

fn inclusion(proof: &Value) -> Option<Inclusion> {
    let encoded = proof.as_bytes()?;
    let decoded = Value::from_slice(encoded).ok()?;
    if decoded.clone().to_vec().ok()? != *encoded {
        return None;
    }
    let Value::Map(fields) = decoded else { return None };
    let [(leaf_label, Value::Array(leaf)), (path_label, Value::Array(path))] = &fields[..] else {
        return None;
    };
    if *leaf_label != Value::Integer(LEAF.into())
        || *path_label != Value::Integer(PATH.into())
        || path.len() > MAX_PATH
    {
        return None;
    }
    let [Value::Bytes(write_set), Value::Text(evidence), Value::Bytes(claims)] = &leaf[..] else {
        return None;
    };
    let step = |step: &Value| match &step.as_array()?[..] {
        [Value::Bool(left), Value::Bytes(digest)] => Some((*left, Digest::from_slice(digest)?)),
        _ => None,
    };
    Some(Inclusion {
        write_set: Digest::from_slice(write_set)?,
        evidence: evidence.clone(),
        claims: Digest::from_slice(claims)?,
        path: path.iter().map(step).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests;
