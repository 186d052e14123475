//! What must hold in a group of signed Raft, checked on whole members: what they made durable, what
//! they say to each other, and what their clients are told.
//!
//! | module | what it checks | when |
//! |---|---|---|
//! | [`watched`] | nothing: the real log, which shows what was made durable | |
//! | [`made`] | entries as they were made: what their bytes say | every new entry |
//! | [`shadow`] | one member: what is on its disk, what follows from it | every turn |
//! | [`checker`] | all members together: one leader, one vote, one log | every turn, every packet |
//! | [`keys`] | nothing: keys, by keyed hashes or real ones | |
//! | [`kv`] | nothing: the maps as they were at every place of the committed log | |
//! | [`history`] | what clients asked and were told | every answer, the end |
//!
//! The members are numbered by the machine they run on; one that lost its disk comes back on
//! another machine, as another node.
pub mod checker;
pub mod history;
pub mod keys;
pub mod kv;
pub mod made;
pub mod shadow;
pub mod watched;

pub use checker::Checker;

use crate::properties::Property;

/// Properties of signed Raft alone; the others are those of every protocol.
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "one_leader",
        source: "reference ccf.md, 9.1 (4): MoreThanOneLeaderInv",
        text: "no view has two leaders, also not one before and one after a recovery",
        checker: "Checker::stands, Checker::says",
    },
    Property {
        name: "one_vote",
        source: "reference ccf.md, 9.1 (5); 10, rows 9 and 19",
        text: "no node votes for two candidates in one view, also after a restart",
        checker: "Checker::durable, Checker::says",
    },
    Property {
        name: "log_matching",
        source: "reference ccf.md, 9.2: LogMatchingInv",
        text: "entries of one view and place are the same, and follow the same",
        checker: "All::meet",
    },
    Property {
        name: "election_safety",
        source: "reference ccf.md, 9.2: ElectionSafetyInv",
        text: "no log has an entry of a view that its leader never had",
        checker: "Checker::durable",
    },
    Property {
        name: "leader_completeness",
        source: "reference ccf.md, 9.2: LeaderCompletenessInv",
        text: "a leader has everything that was committed in earlier views",
        checker: "Checker::stands",
    },
    Property {
        name: "commit_safety",
        source: "reference ccf.md, 9.1 (1), 9.2: QuorumLogInv; 9.3: CommittedLogAppendOnlyProp",
        text: "what is committed is on the disks of a quorum of every configuration that counts, \
               and is never cut away",
        checker: "Checker::stands, Checker::durable",
    },
    Property {
        name: "signature_gate",
        source: "reference ccf.md, 9.1 (2): SignatureInv",
        text: "everybody commits at signatures",
        checker: "Checker::stands",
    },
    Property {
        name: "monotonic_log",
        source: "reference ccf.md, 9.2: MonoTermInv, MonoLogInv",
        text: "the views of a log never decrease, and grow only after a signature",
        checker: "Shadow::append",
    },
    Property {
        name: "monotonic_view",
        source: "reference ccf.md, 9.3: MonotonicTermProp",
        text: "no node goes back to an earlier view",
        checker: "Checker::durable",
    },
    Property {
        name: "configurations",
        source: "reference ccf.md, 9.2: LogConfigurationConsistentInv",
        text: "the active configurations are the last committed one of the log and all later ones",
        checker: "Checker::stands",
    },
    Property {
        name: "retirement",
        source: "reference ccf.md, 9.2: MembershipStateConsistentInv",
        text: "how far a node's retirement is follows from its log and what is committed",
        checker: "Checker::stands",
    },
    Property {
        name: "durable_before_said",
        source: "reference ccf.md, 10, row 19; 9.2: MatchIndexBoundedByLogInv",
        text: "a vote, a view and an entry are on the disk before anybody hears of them",
        checker: "Checker::stands, Checker::says",
    },
    Property {
        name: "status",
        source: "reference ccf.md, 6",
        text: "Committed and Invalid are true, everywhere and for ever",
        checker: "History::says, History::examine",
    },
    Property {
        name: "truthful_answers",
        source: "reference ccf.md, 6; O2",
        text: "a transaction that an answer names is the one asked for; what was refused is not \
               done; committed answers show what is committed",
        checker: "History::answer, History::examine",
    },
    Property {
        name: "truthful_packets",
        source: "design, Network: links are authenticated",
        text: "a node speaks in its own name, in its group, and can be read",
        checker: "CftWorld::hear",
    },
    Property {
        name: "keeps_going",
        source: "reference ccf.md, O1",
        text: "a node whose disk is whole never finds that it must not go on",
        checker: "CftWorld::notice",
    },
    Property {
        name: "recovery",
        source: "reference ccf.md, 7.6",
        text: "from one ledger alone the group begins again two views later, with everything \
               committed that the ledger has; receipts from before lead to the new service; nothing \
               is said to the nodes of before",
        checker: "CftWorld::survive_on_one, CftWorld::hear",
    },
    Property {
        name: "ledger_files",
        source: "reference ccf.md, 7.5",
        text: "committed chunk files of one name are the same on all nodes",
        checker: "CftWorld::compare_files",
    },
];

#[cfg(test)]
mod tests;
