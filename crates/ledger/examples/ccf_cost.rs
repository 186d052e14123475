//! What the ledger of a `cft` group costs, on one core:
//!
//! `cargo run --release -p quorate-ledger --example ccf_cost`

// A measurement needs a clock; the crate itself has none.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use quorate_ledger::ccf::signature::{Identities, Signature};
use quorate_ledger::ccf::{Flags, Notary, Transaction, TxId, entry};
use quorate_ledger::state::WriteSet;

#[allow(dead_code)]
#[path = "../src/ccf/test_support.rs"]
mod test_support;

use test_support::Service;

const ENTRIES: u32 = 200_000;
const SIGNATURES: u32 = 2_000;

/// Prints how long one of `count` takes.
fn measure(what: &str, count: u32, mut act: impl FnMut(u32)) {
    let start = Instant::now();
    (0..count).for_each(&mut act);
    let nanoseconds = start.elapsed().as_nanos() / u128::from(count);
    let micros = nanoseconds as f64 / 1000.0;
    println!("{what:<58} {micros:>9.2} us  {:>9.0}/s", 1e6 / micros);
}

/// A write of a 40-byte key and a 256-byte value.
fn write(map: &str, number: u32) -> WriteSet {
    let mut set = WriteSet::new();
    set.put(map, format!("{number:040}"), vec![7; 256]).expect("small");
    set
}

fn main() {
    let mut service = Service::found(1, 1_700_000_000_000);
    let secret = service.secret.clone();
    for (what, map) in [("public", "public:records"), ("private", "records")] {
        let sets: Vec<WriteSet> = (0..ENTRIES).map(|number| write(map, number)).collect();
        let mut sets = sets.into_iter();
        let mut entries = Vec::with_capacity(ENTRIES as usize);
        let mut tree = service.tree.clone();
        measure(
            &format!("leader: {what} entry of 256 bytes, encode and leaf"),
            ENTRIES,
            |number| {
                let id = TxId::new(2, 1_000 + u64::from(number));
                let writes = sets.next().expect("one for each");
                let transaction = Transaction::new(id, writes, &secret);
                let bytes = transaction.encode(Flags::NONE, &secret).expect("fits");
                tree.append(entry::leaf(&bytes, &transaction.evidence, &transaction.claims));
                entries.push(bytes);
            },
        );
        measure(&format!("follower: {what} entry, decode and leaf"), ENTRIES, |number| {
            let bytes = &entries[number as usize];
            black_box(Transaction::decode(bytes, &secret).expect("ours"));
            tree.append(entry::leaf_of(bytes).expect("ours"));
        });
        tree.flush(tree.size());
        black_box(tree.root());
    }
    for between in [1, 100, 5_000] {
        for number in 0..between {
            service.append(write("records", number));
        }
        let last = service.tree.size();
        let count = SIGNATURES / (1 + between / 100);
        let name = format!("leader: signature over {between} entries, both keys, encode");
        let (tree, previous) = (service.tree.clone(), *service.signatures.last().expect("one"));
        let id = TxId::new(service.view, last);
        let mut signed = None;
        measure(&name, count, |_| {
            let notary = &service.nodes[0];
            let writes = quorate_ledger::ccf::signature::make(
                &tree,
                previous,
                id,
                service.at_ms,
                (notary, notary.certificate()),
            );
            let transaction = Transaction::new(id, writes.expect("a tree"), &secret);
            signed = Some(transaction.encode(Flags::NONE, &secret).expect("fits"));
        });
        let bytes = signed.expect("measured at least once");
        println!("{:<58} {:>9} bytes", "  its size", bytes.len());
        let notary = &service.nodes[0];
        let by = Identities { node: notary.certificate(), service: service.certificate() };
        measure("follower: decode it and verify both signatures", count, |_| {
            let transaction = Transaction::decode(&bytes, &secret).expect("ours");
            let signature = Signature::read(&transaction).expect("ours").expect("a signature");
            signature.verify(&tree, by, notary).expect("ours");
        });
        service.sign(Flags::NONE);
    }
    let seqno = service.tree.size() - 100;
    let covering = service.covering(seqno);
    measure("receipt: JSON, the signature's tree at hand", SIGNATURES, |_| {
        let entry = service.entry(seqno);
        black_box(covering.receipt(entry, &secret).expect("signed").to_json());
    });
    let receipt = covering.receipt(service.entry(seqno), &secret).expect("signed");
    measure("receipt: verify with the service certificate", SIGNATURES, |_| {
        receipt.verify(service.certificate()).expect("it holds");
    });
}
