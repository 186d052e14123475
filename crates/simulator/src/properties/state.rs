//! Equal states after equal blocks.

use std::collections::BTreeMap;

use quorate_crypto::hash::Digest;
use quorate_ledger::block::Block;
use quorate_ledger::group::{GenesisDocuments, GroupDescriptor};
use quorate_ledger::ids::BlockId;
use quorate_ledger::state::State;
use quorate_replica::executor::{self, Ground};

use super::Violation;

/// The state that follows from the blocks alone, and its digest after each of them.
#[derive(Debug)]
pub struct States {
    descriptor: GroupDescriptor,
    documents: Option<GenesisDocuments>,
    state: State,
    digests: BTreeMap<BlockId, Digest>,
}

impl States {
    /// Of a group whose genesis documents are not known yet.
    #[must_use]
    pub const fn new(descriptor: GroupDescriptor) -> Self {
        Self { descriptor, documents: None, state: State::new(), digests: BTreeMap::new() }
    }

    /// A correct node has these genesis documents.
    ///
    /// # Errors
    /// Another one has others.
    pub fn documents(&mut self, documents: &GenesisDocuments) -> Result<(), Violation> {
        match &self.documents {
            Some(known) if known == documents => Ok(()),
            Some(_) => Err(Violation::new("one_view", "two sets of genesis documents")),
            None => {
                self.state = executor::genesis_state(documents);
                self.digests.insert(BlockId(0), self.state.digest());
                self.documents = Some(documents.clone());
                Ok(())
            }
        }
    }

    /// A block that no node has shown before is final: it is executed here, too.
    ///
    /// # Errors
    /// It does not write what its header says.
    pub fn ordered(&mut self, block: &Block) -> Result<(), Violation> {
        let id = block.header.id;
        let ground = Ground { descriptor: &self.descriptor, state: &self.state };
        let writes = executor::redo(&ground, block)
            .map_err(|error| Violation::new("state_digest", format!("block {id}: {error}")))?;
        self.state.apply(&writes);
        self.digests.insert(id, self.state.digest());
        Ok(())
    }

    /// A correct node, `who`, has this state after block `head`. Nothing is known of blocks that
    /// nobody has shown yet.
    ///
    /// # Errors
    /// It is another one than that of the others.
    pub fn same(&self, who: &str, head: BlockId, state: &State) -> Result<(), Violation> {
        let Some(known) = self.digests.get(&head) else { return Ok(()) };
        let digest = state.digest();
        if digest == *known {
            return Ok(());
        }
        let ours = (*known == self.state.digest()).then_some(&self.state);
        let apart = ours.map_or_else(String::new, |ours| first_difference(ours, state));
        let text = format!("{who} after block {head} has state {digest}, not {known}{apart}");
        Err(Violation::new("state_digest", text))
    }
}

/// The first entry in which two states differ, for a reader.
fn first_difference(ours: &State, theirs: &State) -> String {
    let maps = ours.maps().chain(theirs.maps());
    for map in maps {
        let differs = |(key, _): &(&[u8], _)| ours.get(map, key) != theirs.get(map, key);
        let mut entries = ours.iter(map).chain(theirs.iter(map));
        if let Some((key, _)) = entries.find(differs) {
            let size = |state: &State| state.get(map, key).map(|value| value.len());
            let key = key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let (ours, theirs) = (size(ours), size(theirs));
            return format!("; first in map {map}, key {key}: {theirs:?} bytes, not {ours:?}");
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use quorate_ledger::state::WriteSet;

    use super::*;
    use crate::properties::testing::TestGroup;

    #[test]
    fn another_state_after_the_same_block_is_seen() {
        let group = TestGroup::new();
        let mut states = States::new(group.descriptor());
        let documents = group.documents();
        assert_eq!(states.documents(&documents), Ok(()));
        let good = executor::genesis_state(&documents);
        assert_eq!(states.same("n1", BlockId(0), &good), Ok(()));
        let mut writes = WriteSet::new();
        writes.put("stray", *b"key", b"value".as_slice()).expect("small");
        let mut bad = good;
        bad.apply(&writes);
        let violation = states.same("n1", BlockId(0), &bad).expect_err("a stray entry");
        assert_eq!(violation.property, "state_digest");
        for part in ["n1", "stray", "6b6579"] {
            assert!(violation.detail.contains(part), "{part} is missing in {violation}");
        }
        assert_eq!(states.same("n1", BlockId(7), &bad), Ok(()), "nobody has shown block 7");
    }

    #[test]
    fn a_block_that_writes_something_else_is_seen() {
        let mut group = TestGroup::new();
        let mut states = States::new(group.descriptor());
        assert_eq!(states.documents(&group.documents()), Ok(()));
        let member = group.member(1);
        let mut block = group.block(&[(&member, b"one")]);
        assert_eq!(states.ordered(&block), Ok(()));
        block.header.write_set = Digest([1; 32]);
        let violation = states.ordered(&block).expect_err("another write set");
        assert_eq!(violation.property, "state_digest");
    }

    #[test]
    fn other_genesis_documents_are_seen() {
        let group = TestGroup::new();
        let mut states = States::new(group.descriptor());
        let mut documents = group.documents();
        assert_eq!(states.documents(&documents), Ok(()));
        documents.announce.hash.push(0);
        let violation = states.documents(&documents).expect_err("other documents");
        assert_eq!(violation.property, "one_view");
    }
}
