//! The table of properties, and their checkers: the same for every protocol.
//!
//! | module | what it checks | when |
//! |---|---|---|
//! | [`ledger`] | one ledger: agreement, order, validity, certificates, nothing lost | every final block |
//! | [`origin`] | whatever is ordered was submitted by somebody with the key | every new block |
//! | [`state`] | equal states after equal blocks, also after a restart | every restart, final blocks, ends of phases |
//! | [`chain`] | the offline verifier, from the genesis block to the head | new views, the end |
//! | [`limits`] | buffers against their limits | every turn |
//! | [`history`] | what clients saw, against the one order | every read, every final block |
//! | [`linearizability`] | short histories, by search, against a model | the end |
//!
//! What clients may rely on is defined in `docs/consistency.md`.

pub mod chain;
pub mod history;
pub mod ledger;
pub mod limits;
pub mod linearizability;
pub mod origin;
pub mod state;
#[cfg(test)]
mod testing;

use std::fmt;

pub use ledger::Ledger;

/// One property: its name, where it is demanded, what it says and what checks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property {
    /// Name in reports.
    pub name: &'static str,
    /// Source.
    pub source: &'static str,
    /// What it says.
    pub text: &'static str,
    /// What checks it.
    pub checker: &'static str,
}

/// All properties but those of signed Raft alone, which are in [`crate::signed`].
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "agreement",
        source: "HoneyBadgerBFT, section 3: Agreement",
        text: "no two correct nodes have different blocks of one id",
        checker: "Ledger::committed",
    },
    Property {
        name: "total_order",
        source: "HoneyBadgerBFT, section 3: Total Order",
        text: "a node's blocks are final one by one, in order, each linked to the one before: \
               every node has a prefix of the one ledger",
        checker: "Ledger::committed",
    },
    Property {
        name: "validity",
        source: "reference quorum.md, 9 defect 5",
        text: "every trx in a block is well-formed and signed by its sender",
        checker: "Ledger::committed",
    },
    Property {
        name: "integrity",
        source: "Cachin, Guerraoui and Rodrigues, total-order broadcast: no creation",
        text: "every trx in a block was submitted by its sender, or its sender is a traitor",
        checker: "Origins::ordered",
    },
    Property {
        name: "exactly_once",
        source: "seed 001: each trx once",
        text: "no trx is in two places of the ledger, no submission makes two trxs, no trx is \
               acknowledged twice",
        checker: "Ledger::committed, Origins::ordered, History::acknowledge",
    },
    Property {
        name: "certificate",
        source: "design, Blocks: 2f+1 signatures",
        text: "every final block has a certificate of its view's committee",
        checker: "Ledger::committed",
    },
    Property {
        name: "one_view",
        source: "design, view chain",
        text: "no two correct nodes have different views of one number",
        checker: "Ledger::view",
    },
    Property {
        name: "view_chain",
        source: "design, Blocks, certificates, receipts, views: the view chain",
        text: "views, proofs, blocks and receipts that a node shows verify offline, from the \
               genesis block to the head",
        checker: "Verifier::views, Verifier::whole",
    },
    Property {
        name: "state_digest",
        source: "design, Blocks: write-set digest; Storage: state is derived",
        text: "after the same block all correct nodes have the same state, also one rebuilt \
               after a crash from snapshot and blocks",
        checker: "States::same",
    },
    Property {
        name: "durability",
        source: "design, Storage: nothing is acknowledged before it is durable",
        text: "what was final before a crash is final after it",
        checker: "World::compare_with_before",
    },
    Property {
        name: "no_acknowledged_loss",
        source: "reference quorum.md, 9 defect 7",
        text: "every acknowledged trx is ordered after the faults end, even if all crashed",
        checker: "Ledger::missing",
    },
    Property {
        name: "prefix_reads",
        source: "docs/consistency.md, Reads",
        text: "a read shows exactly the ledger up to the head of its node, all of it final",
        checker: "History::read",
    },
    Property {
        name: "session_order",
        source: "docs/consistency.md, Sessions; Terry et al., Session Guarantees, 1994",
        text: "reads at one node never go back, and show what was final there before",
        checker: "History::read",
    },
    Property {
        name: "real_time_order",
        source: "docs/consistency.md, Submissions; Herlihy and Wing, Linearizability, 1990",
        text: "a trx submitted after another was final anywhere is ordered after it",
        checker: "History::ordered",
    },
    Property {
        name: "linearizable",
        source: "docs/consistency.md, Submissions; Wing and Gong, 1993; Lowe, 2017",
        text: "submissions that end when they are final at their node are appends to one log",
        checker: "History::log, linearizability::check",
    },
    Property {
        name: "limits",
        source: "design, The heart: decoding takes limits",
        text: "no block, packet or proposal is larger than it may be",
        checker: "limits::block, limits::packet",
    },
    Property {
        name: "bounded_memory",
        source: "design, The heart: every buffer, window and queue has a limit",
        text: "no buffer of a correct node holds more than it may",
        checker: "limits::buffers",
    },
    Property {
        name: "progress_after_heal",
        source: "HoneyBadgerBFT, section 3: Censorship Resilience, with a stated bound",
        text: "after the faults end all correct nodes reach the same head within the bound",
        checker: "World::converged",
    },
    Property {
        name: "starts_again",
        source: "design, Storage: recovery",
        text: "a node starts from whatever a crash left on its disk",
        checker: "World::start",
    },
    Property {
        name: "secrecy",
        source: "HoneyBadgerBFT, section 4.3; Mostefaoui et al.: the coin is unknown before",
        text: "a correct member tells no share of a coin or a key before its protocol lets it",
        checker: "Conduct::says",
    },
    Property {
        name: "common_coin",
        source: "Mostefaoui et al., section 3: the common coin",
        text: "no two correct members act on different coins of one round",
        checker: "Conduct::shows",
    },
    Property {
        name: "one_voice",
        source: "HoneyBadgerBFT, section 3: at most f are faulty; protocol text, AMN-1",
        text: "a correct member never says two different ECHO, READY, AUX, CONF or TERM, also not \
               after it has noticed that it forgot what it said",
        checker: "conduct::heard",
    },
    Property {
        name: "no_panic",
        source: "design, Three kinds of wrong",
        text: "no assertion of ours fails",
        checker: "guarded",
    },
];

impl Property {
    /// All properties, those of signed Raft alone included.
    pub fn all() -> impl Iterator<Item = &'static Self> + Clone {
        PROPERTIES.iter().chain(crate::signed::PROPERTIES)
    }

    /// The property of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|property| property.name == name)
    }
}

/// A property that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Its name, of [`Property::all`].
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// A violation of `property`.
    pub fn new(property: &'static str, detail: impl Into<String>) -> Self {
        debug_assert!(Property::named(property).is_some(), "{property}");
        Self { property, detail: detail.into() }
    }

    /// The same, with more for whoever looks for the reason.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.detail.push('\n');
        self.detail.push_str(more);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.detail)?;
        match Property::named(self.property) {
            Some(property) => {
                write!(f, "\n  demanded: {} ({})", property.text, property.source)?;
                write!(f, "\n  checked by {}", property.checker)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_its_own_name_and_says_all_about_itself() {
        for (place, property) in Property::all().enumerate() {
            let first = Property::all().position(|other| other.name == property.name);
            assert_eq!(first, Some(place), "{} is there twice", property.name);
            for text in [property.source, property.text, property.checker] {
                assert!(!text.is_empty(), "{} says too little", property.name);
            }
        }
    }

    #[test]
    fn a_violation_says_what_was_demanded_and_where() {
        let violation = Violation::new("agreement", "block 3 is a and b").with("n0 head 3");
        let text = violation.to_string();
        for part in ["agreement: block 3", "n0 head 3", "HoneyBadgerBFT", "Ledger::committed"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
