//! `quorate verify receipt` and `quorate verify ledger` for signed-Raft groups: CCF's formats, checked
//! with the ledger crate alone.

use std::path::{Path, PathBuf};

use quorate_crypto::hash::sha256;
use quorate_ledger::ccf::files::ChunkName;
use quorate_ledger::ccf::maps::{
    GENESIS, SERVICE_HANDOVERS, SERVICE_INFO, SINGLE, ServiceInfo, read_row,
};
use quorate_ledger::ccf::notary::hands_over;
use quorate_ledger::ccf::receipt::{Proven, Receipt, verify_cose};
use quorate_ledger::ccf::validate::{EcVerifier, Validator};
use quorate_ledger::ccf::{Transaction, TxId, files};
use quorate_ledger::codec::Canonical as _;
use quorate_ledger::genesis::GenesisBlock;
use quorate_ledger::seed::Seed;
use serde_json::{Value, json};

use crate::error::{CliError, Result};
use crate::output::Report;

/// Name of the ledger in a node's directory of a group.
const LEDGER: &str = "ledger";
/// Longest chunk file read: as long as one can be.
const MAX_CHUNK: u64 = u32::MAX as u64;
/// Rows that tie a service to the group's seed.
const GENESIS_BLOCK: &[u8] = b"genesis_block";
const OWNER_SIGNATURE: &[u8] = b"owner_signature";

/// Whether a file is a receipt of a signed-Raft group: COSE, or JSON with its own members.
pub fn is_receipt(bytes: &[u8]) -> bool {
    // The tag of COSE_Sign1 is one byte in the one spelling that is accepted.
    if bytes.first() == Some(&0xd2) {
        return true;
    }
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    value.is_some_and(|v| v.get("is_signature_transaction").is_some())
}

/// Checks a receipt.
///
/// # Errors
/// If it does not hold, or there is no service certificate to check it by.
pub fn receipt(bytes: &[u8], certificate: Option<&Path>) -> Result<Report> {
    let certificate = certificate.ok_or_else(|| {
        CliError::usage("a receipt of a signed-Raft group is checked by the service certificate").hint(
            "give it with --service-cert FILE; `quorate tx receipt ID --service-cert FILE` writes it",
        )
    })?;
    let pem = std::fs::read_to_string(certificate)
        .map_err(|e| CliError::file("read", certificate, &e))?;
    let failed = |e: quorate_ledger::ccf::receipt::ReceiptError| CliError::failed(e.to_string());
    if bytes.first() == Some(&0xd2) {
        let (proven, claims) = verify_cose(bytes, &pem).map_err(failed)?;
        let id = proven.id.map_or_else(|| format!("{claims:?}"), |id| id.to_string());
        return Ok(receipt_report(&proven, &id, "COSE", None));
    }
    let receipt = Receipt::from_json(bytes).map_err(failed)?;
    let proven = receipt.verify(&pem).map_err(failed)?;
    let node = receipt.node().to_string();
    let id = proven.id.map_or_else(|| "a signature transaction".to_owned(), |id| id.to_string());
    Ok(receipt_report(&proven, &id, "JSON", Some(&node)))
}

fn receipt_report(proven: &Proven, id: &str, form: &str, node: Option<&str>) -> Report {
    let root = hex::encode(proven.root);
    let value = json!({
        "ok": true,
        "kind": "signed-receipt",
        "form": form,
        "transaction_id": proven.id.map(|id| id.to_string()),
        "write_set_digest": proven.write_set.map(hex::encode),
        "claims_digest": hex::encode(proven.claims),
        "root": root,
        "node_id": node,
    });
    let signer = node.map_or_else(|| "the service".to_owned(), |node| format!("node {node}"));
    let human = format!(
        "transaction {id} is in the ledger of that service ({form})\n  Merkle root {root}\n  signed by \
         {signer}\n  trust: crash faults only; the nodes are believed, no quorum of signatures"
    );
    Report::new(value, human)
}

/// What a ledger directory holds.
#[derive(Debug)]
pub struct Ledger {
    /// Its chunk files, in order.
    pub files: Vec<PathBuf>,
    /// The last entry.
    pub last: TxId,
    /// The last signature: what is behind it is proven by nothing.
    pub signed: TxId,
    /// Signatures checked.
    pub signatures: u64,
    /// Root of the Merkle tree over all entries: equal roots are equal ledgers.
    pub root: String,
    /// Certificate of the service at the end, PEM.
    pub service_certificate: String,
    /// Status of the service at the end.
    pub service_status: String,
    /// Genesis block and owner's statement of the first entry.
    genesis: Option<(Vec<u8>, Vec<u8>)>,
    /// Certificate of the service at the start, PEM.
    first_certificate: String,
    /// Recoveries, in order: the service had another certificate from there on.
    pub recoveries: Vec<Recovery>,
}

/// A change of the service's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Where.
    pub at: TxId,
    /// Whether the key of the service before signed the new certificate.
    pub handed_over: bool,
}

/// Checks a ledger directory, or a node's directory of a group with one in it, or several that have it
/// together.
///
/// # Errors
/// If anything in it does not hold.
pub fn ledger(dirs: &[PathBuf], certificate: Option<&Path>, seed: Option<&Seed>) -> Result<Report> {
    let ledger = read_ledger(dirs)?;
    if let Some(path) = certificate {
        let pem = std::fs::read_to_string(path).map_err(|e| CliError::file("read", path, &e))?;
        if pem.trim() != ledger.service_certificate.trim() {
            return Err(CliError::failed(
                "the service has another certificate at the end of this ledger",
            )
            .hint("it is another service, or was recovered since: `quorate recover` wrote the new one"));
        }
    }
    if let Some(seed) = seed {
        ledger.belongs_to(seed)?;
    }
    let anchored = certificate.is_some() || seed.is_some();
    let value = ledger.to_json(anchored);
    let rest = if anchored {
        ""
    } else {
        "\n  neither --seed nor --service-cert was given: compare the certificate with what you know"
    };
    let human = format!("{}{rest}", ledger.text());
    Ok(Report::new(value, human))
}

impl Ledger {
    /// Entries behind the last signature.
    pub const fn unsigned(&self) -> u64 {
        self.last.seqno - self.signed.seqno
    }

    fn to_json(&self, anchored: bool) -> Value {
        json!({
            "ok": true,
            "kind": "ledger",
            "files": self.files.len(),
            "entries": self.last.seqno,
            "last": self.last.to_string(),
            "last_signed": self.signed.to_string(),
            "unsigned": self.unsigned(),
            "signatures": self.signatures,
            "root": self.root,
            "service_status": self.service_status,
            "recoveries": self.recoveries.iter().map(|recovery| json!({
                "at": recovery.at.to_string(),
                "handed_over": recovery.handed_over,
            })).collect::<Vec<_>>(),
            "service_certificate_sha256": hex::encode(sha256(self.service_certificate.as_bytes())),
            "anchored": anchored,
        })
    }

    fn text(&self) -> String {
        let recovered = match self.recoveries.as_slice() {
            [] => String::new(),
            some => {
                let list: Vec<String> = some.iter().map(|r| r.at.to_string()).collect();
                format!("\n  recovered at {}: its certificate changed there", list.join(", "))
            }
        };
        format!(
            "{} entries in {} files hold, up to {}\n  {} signatures, the last is {}; {} entries behind \
             it are not signed yet\n  service {}, certificate sha256 {}{recovered}",
            self.last.seqno,
            self.files.len(),
            self.last,
            self.signatures,
            self.signed,
            self.unsigned(),
            self.service_status,
            hex::encode(sha256(self.service_certificate.as_bytes())),
        )
    }

    /// Checks that the first service certificate is stated by the owner that the seed names, and that
    /// every later one was signed by the key of the one before.
    ///
    /// # Errors
    /// If that is not so.
    pub fn belongs_to(&self, seed: &Seed) -> Result<()> {
        let wrong = |what: &str| Err(CliError::failed(format!("the ledger and the seed: {what}")));
        let Some((block, statement)) = &self.genesis else {
            return wrong("the ledger's first entry names no genesis block");
        };
        match GenesisBlock::from_bytes(block) {
            Ok(block) if block == seed.group.genesis => {}
            _ => return wrong("they are of different groups"),
        }
        let stated = sha256(self.first_certificate.as_bytes());
        if !seed.group.owner.verify(&stated, statement) {
            return wrong("the owner of the seed has not signed the service certificate");
        }
        match self.recoveries.iter().find(|recovery| !recovery.handed_over) {
            None => Ok(()),
            Some(recovery) => Err(CliError::failed(format!(
                "the ledger and the seed: the service was recovered at {}, but the key of the service \
                 before has not signed its new certificate",
                recovery.at
            ))
            .hint(
                "if the operator says that the old key was lost, check by --service-cert FILE with the \
                 new certificate, which you have from them",
            )),
        }
    }
}

/// Reads and checks every entry of a ledger directory, or of several that have it together.
///
/// # Errors
/// If anything in it does not hold.
pub fn read_ledger<P: AsRef<Path>>(dirs: &[P]) -> Result<Ledger> {
    let mut names = Vec::new();
    for dir in dirs {
        let inner = dir.as_ref().join(LEDGER);
        names.extend(chunk_names(if inner.is_dir() { &inner } else { dir.as_ref() })?);
    }
    if names.is_empty() {
        let dirs: Vec<String> = dirs.iter().map(|d| d.as_ref().display().to_string()).collect();
        let message = format!("there is no ledger in {}", dirs.join(" or "));
        return Err(CliError::usage(message).hint(
            "name a directory with files called ledger_<first>..., or one that has `ledger` in it",
        ));
    }
    names.sort_by_key(|(name, _)| name.first);
    names.dedup_by(|(later, _), (name, _)| later == name);
    let mut validator = Validator::new(EcVerifier, None);
    let (mut files, mut genesis, mut first_certificate) = (Vec::new(), None, String::new());
    let mut recoveries = Vec::new();
    for (name, path) in names {
        let length = std::fs::metadata(&path).map_err(|e| CliError::file("read", &path, &e))?.len();
        if length > MAX_CHUNK {
            return Err(CliError::failed(format!(
                "{} is longer than a chunk can be",
                path.display()
            )));
        }
        let bytes = std::fs::read(&path).map_err(|e| CliError::file("read", &path, &e))?;
        let open = name.last.is_none();
        if open && files::entries(&bytes).is_ok_and(|(entries, _)| entries.is_empty()) {
            // Made ahead of its first entry.
            continue;
        }
        let before = validator.service().map(|service| service.cert.clone());
        validator
            .add_chunk(&name, &bytes)
            .map_err(|e| CliError::failed(format!("{}: {e}", path.display())))?;
        if files.is_empty() {
            genesis = first_rows(&bytes);
            first_certificate = certificate_of_first(&bytes).unwrap_or_default();
        }
        let after = validator.service().map(|service| &service.cert);
        if before.is_none() || before.as_ref() != after {
            recoveries.extend(recoveries_in(&bytes, before));
        }
        files.push(path);
    }
    let service = validator.service();
    Ok(Ledger {
        files,
        last: validator.last(),
        signed: validator.signed(),
        signatures: validator.signatures(),
        root: hex::encode(validator.tree().root()),
        service_certificate: service.map(|s| s.cert.clone()).unwrap_or_default(),
        service_status: service.map(|s| format!("{:?}", s.status)).unwrap_or_default(),
        genesis,
        first_certificate,
        recoveries,
    })
}

/// The genesis rows of the first entry.
fn first_rows(chunk: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (entries, _) = files::entries(chunk).ok()?;
    let first = Transaction::decode_public(entries.first()?).ok()?;
    let row = |key: &[u8]| Some(first.writes.get(GENESIS, key)??.to_vec());
    Some((row(GENESIS_BLOCK)?, row(OWNER_SIGNATURE)?))
}

/// The service certificate of the first entry.
fn certificate_of_first(chunk: &[u8]) -> Option<String> {
    let (entries, _) = files::entries(chunk).ok()?;
    let first = Transaction::decode_public(entries.first()?).ok()?;
    Some(service_of(&first)?.cert)
}

fn service_of(transaction: &Transaction) -> Option<ServiceInfo> {
    read_row(SERVICE_INFO, transaction.writes.get(SERVICE_INFO, &SINGLE)??).ok()
}

/// The changes of the service's identity in a chunk that holds, whose service was `certificate`
/// before.
fn recoveries_in(chunk: &[u8], mut certificate: Option<String>) -> Vec<Recovery> {
    let mut found = Vec::new();
    let entries = files::entries(chunk).map(|(entries, _)| entries).unwrap_or_default();
    for transaction in entries.iter().filter_map(|entry| Transaction::decode_public(entry).ok()) {
        let Some(service) = service_of(&transaction) else { continue };
        let before = certificate.replace(service.cert.clone());
        if let Some(before) = before.filter(|before| *before != service.cert) {
            let key = transaction.id.seqno.to_be_bytes();
            let signature = transaction.writes.get(SERVICE_HANDOVERS, &key).flatten();
            let handed_over = signature.is_some_and(|s| hands_over(&before, &service.cert, s));
            found.push(Recovery { at: transaction.id, handed_over });
        }
    }
    found
}

/// Chunk files. What has another name is none.
fn chunk_names(dir: &Path) -> Result<Vec<(ChunkName, PathBuf)>> {
    let entries = std::fs::read_dir(dir).map_err(|e| CliError::file("read", dir, &e))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| CliError::file("read", dir, &e))?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            let name: ChunkName = name;
            names.push((name, entry.path()));
        }
    }
    Ok(names)
}
