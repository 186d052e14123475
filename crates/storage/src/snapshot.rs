//! Snapshots of the state: derived data, so a bad one is passed over and recovery starts earlier.
//!
//! `snapshot_<id>`: magic, id, length, CRC-32 of the payload, payload; little endian. Written beside
//! and renamed; the last [`KEEP`] stay. Which ones count stands in the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::chunk::read_all;
use crate::disk::{Disk, DiskError};
use crate::error::{Corruption, StoreError};

const MAGIC: &[u8; 8] = b"QRTESNP1";
const HEADER: usize = 28;
/// Most bytes of a snapshot.
const MAX_FILE: u64 = 4 << 30;
/// How many snapshots stay.
pub(crate) const KEEP: usize = 2;

/// Name of the snapshot after block `id`.
pub(crate) fn snapshot_name(id: u64) -> String {
    format!("snapshot_{id}")
}

/// Ids of the snapshots there are, ascending.
pub(crate) fn list(disk: &impl Disk) -> Result<Vec<u64>, DiskError> {
    let mut ids: Vec<u64> = disk
        .list("")?
        .iter()
        .filter_map(|name| {
            let id = name.strip_prefix("snapshot_")?.parse().ok()?;
            (snapshot_name(id) == *name).then_some(id)
        })
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

fn header(id: u64, payload: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&id.to_le_bytes());
    header.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    header.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    header
}

/// Writes a snapshot, durably.
pub(crate) fn write(disk: &mut impl Disk, id: u64, payload: &[u8]) -> Result<(), StoreError> {
    let name = snapshot_name(id);
    let temp = format!("{name}.tmp");
    if disk.exists(&temp)? {
        disk.remove(&temp)?;
    }
    disk.write(&temp, 0, &[&header(id, payload), payload].concat())?;
    disk.sync(&temp)?;
    disk.rename(&temp, &name)?;
    Ok(disk.sync_dir("")?)
}

/// Reads and checks a snapshot.
pub(crate) fn read(disk: &impl Disk, id: u64) -> Result<Arc<[u8]>, StoreError> {
    let name = snapshot_name(id);
    let bytes = read_all(disk, &name, MAX_FILE)?;
    match bytes.split_at_checked(HEADER) {
        Some((found, payload)) if found == header(id, payload) => Ok(payload.into()),
        _ => Err(Corruption::new(&name, 0, Some(id), "the checksum fails").into()),
    }
}

/// Removes all that don't count.
pub(crate) fn prune(disk: &mut impl Disk, live: &BTreeSet<u64>) -> Result<(), StoreError> {
    let mut removed = false;
    for id in list(disk)?.into_iter().filter(|id| !live.contains(id)) {
        disk.remove(&snapshot_name(id))?;
        removed = true;
    }
    if removed {
        disk.sync_dir("")?;
    }
    Ok(())
}
