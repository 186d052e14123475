//! Secrets of a node: files of the [`vault`], the highest good version of a name counts.
//!
//! The next version is durable, name and content, before the earlier ones are erased. So a bad file
//! of the highest version with a good one below it was interrupted and never counted; without a good
//! one below it is damage.

use quorate_crypto::cipher::SymmetricKey;
use rand_chacha::ChaCha20Rng;

use crate::disk::{Disk, DiskError};
use crate::error::{OpenError, StoreError};
use crate::vault;

/// Versions of a secret there are, ascending.
fn versions(disk: &impl Disk, name: &str) -> Result<Vec<u64>, DiskError> {
    let files = match disk.list(vault::DIR) {
        Err(DiskError::NotFound { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let versions = files.iter().filter_map(|file| vault::parse_name(file));
    let mut versions: Vec<_> = versions.filter(|(of, _)| of == name).map(|(_, v)| v).collect();
    versions.sort_unstable();
    Ok(versions)
}

/// The secret, and its version.
pub(crate) fn read(
    disk: &impl Disk,
    key: &SymmetricKey,
    name: &str,
) -> Result<Option<(Vec<u8>, u64)>, OpenError> {
    vault::assert_name(name);
    let mut damage = None;
    for version in versions(disk, name)?.into_iter().rev() {
        match vault::read(disk, key, name, version) {
            Ok(secret) => return Ok(Some((secret, version))),
            Err(OpenError::Corrupt(corruption)) => damage.get_or_insert(corruption),
            Err(error) => return Err(error),
        };
    }
    damage.map_or(Ok(None), |damage| Err(damage.into()))
}

/// Sets a secret, durably.
pub(crate) fn write(
    disk: &mut impl Disk,
    key: &SymmetricKey,
    rng: &mut ChaCha20Rng,
    name: &str,
    secret: &[u8],
) -> Result<(), StoreError> {
    vault::assert_name(name);
    let old = versions(disk, name)?;
    let version = old.last().map_or(1, |version| version.saturating_add(1));
    vault::write(disk, key, rng, (name, version), secret)?;
    disk.sync_dir(vault::DIR)?;
    erase(disk, name, old)
}

/// Erases all versions of a secret.
pub(crate) fn remove(disk: &mut impl Disk, name: &str) -> Result<(), StoreError> {
    vault::assert_name(name);
    let mut all = versions(disk, name)?;
    // The highest last: an interrupted removal leaves it.
    erase(disk, name, std::mem::take(&mut all))
}

/// Erases what does not count: earlier versions, and interrupted ones.
pub(crate) fn tidy(disk: &mut impl Disk, key: &SymmetricKey) -> Result<(), OpenError> {
    let files = disk.list(vault::DIR)?;
    let mut names: Vec<_> = files.iter().filter_map(|f| Some(vault::parse_name(f)?.0)).collect();
    names.dedup();
    for name in names {
        let mut surplus = versions(disk, &name)?;
        if surplus.len() > 1
            && let Some((_, counts)) = read(disk, key, &name)?
        {
            surplus.retain(|version| *version != counts);
            erase(disk, &name, surplus)?;
        }
    }
    Ok(())
}

fn erase(disk: &mut impl Disk, name: &str, versions: Vec<u64>) -> Result<(), StoreError> {
    if versions.is_empty() {
        return Ok(());
    }
    for version in versions {
        vault::erase(disk, &vault::path(name, version))?;
    }
    Ok(disk.sync_dir(vault::DIR)?)
}
