//! Secrets at rest: one small file per secret and version, so that it can be erased.
//!
//! `vault/<name>_<version>`: magic, CRC-32 of the rest, then the secret sealed with AES-256-GCM
//! under the store's sealing key, name and version authenticated. Which version counts stands in
//! the journal, so that setting a secret and the records of the same append count together. A file
//! that doesn't count (replaced, removed, left by a failed append) is overwritten with zeros,
//! synced and unlinked. On a disk that copies on write, zeros don't reach the old bytes: there the
//! seal is what protects them.

use quorate_crypto::cipher::{self, SymmetricKey};
use quorate_crypto::hash::sha256;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, OpenError, StoreError};

/// The vault's directory.
pub(crate) const DIR: &str = "vault";
const MAGIC: &[u8; 8] = b"QRTEVLT1";
const HEADER: usize = 12;
/// Most bytes of a vault file.
const MAX_FILE: u64 = 64 << 20;
/// Longest name of a secret.
const MAX_NAME: usize = 100;

/// # Panics
/// If the name is not one: an own mistake.
pub(crate) fn assert_name(name: &str) {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    assert!(
        !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(good),
        "not a name of a secret: {name:?}"
    );
}

/// Path of a version of a secret.
pub(crate) fn path(name: &str, version: u64) -> String {
    format!("{DIR}/{name}_{version}")
}

/// Name and version of a file in the vault.
pub(crate) fn parse_name(file: &str) -> Option<(String, u64)> {
    let (name, version) = file.rsplit_once('_')?;
    let version = version.parse().ok()?;
    (format!("{name}_{version}") == file).then(|| (name.to_owned(), version))
}

fn associated(name: &str, version: u64) -> Vec<u8> {
    format!("quorate vault {name} {version}").into_bytes()
}

/// Seals and writes a secret; durable but for its name.
pub(crate) fn write(
    disk: &mut impl Disk,
    key: &SymmetricKey,
    rng: &mut ChaCha20Rng,
    (name, version): (&str, u64),
    secret: &[u8],
) -> Result<(), StoreError> {
    let aad = associated(name, version);
    // Should the generator ever repeat (a restored machine), the version keeps nonces apart.
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    let seed = sha256(&[seed.as_slice(), &aad].concat());
    let mut nonces = ChaCha20Rng::from_seed(*seed.as_bytes());
    let sealed = cipher::seal(key, &mut nonces, &aad, secret);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&sealed).to_le_bytes());
    bytes.extend_from_slice(&sealed);
    let path = path(name, version);
    if disk.exists(&path)? {
        disk.remove(&path)?;
    }
    disk.write(&path, 0, &bytes)?;
    Ok(disk.sync(&path)?)
}

/// Reads the sealed bytes of a secret.
pub(crate) fn read_sealed(
    disk: &impl Disk,
    name: &str,
    version: u64,
) -> Result<Vec<u8>, StoreError> {
    let path = path(name, version);
    let bytes = match read_all(disk, &path, MAX_FILE) {
        Err(StoreError::Disk(DiskError::NotFound { .. })) => {
            return Err(Corruption::new(&path, 0, None, "the secret's file is missing").into());
        }
        other => other?,
    };
    match bytes.split_at_checked(HEADER) {
        Some((header, sealed))
            if header[..8] == *MAGIC && header[8..] == crc32fast::hash(sealed).to_le_bytes() =>
        {
            Ok(sealed.to_vec())
        }
        _ => Err(Corruption::new(&path, 0, None, "the checksum fails").into()),
    }
}

/// Reads and opens a secret.
pub(crate) fn read(
    disk: &impl Disk,
    key: &SymmetricKey,
    name: &str,
    version: u64,
) -> Result<Vec<u8>, OpenError> {
    let sealed = read_sealed(disk, name, version)?;
    cipher::open(key, &associated(name, version), &sealed)
        .map_err(|_| OpenError::WrongKey { name: name.to_owned() })
}

/// Overwrites with zeros, syncs and unlinks; the caller syncs the directory.
pub(crate) fn erase(disk: &mut impl Disk, path: &str) -> Result<(), DiskError> {
    if !disk.exists(path)? {
        return Ok(());
    }
    let len = disk.len(path)?.min(MAX_FILE);
    disk.write(path, 0, &vec![0; usize::try_from(len).expect("bounded")])?;
    disk.sync(path)?;
    disk.remove(path)
}
