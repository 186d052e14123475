//! Writes the ledger of a service that has seen elections, nodes that come and go, private maps, large
//! entries and a snapshot; with receipts. For programs of others to read:
//!
//! `cargo run -p quorate-ledger --example ccf_ledger -- <empty folder> <milliseconds since 1970>`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use quorate_ledger::ccf::Flags;

#[allow(dead_code)]
#[path = "../src/ccf/test_support.rs"]
mod test_support;

use test_support::{Service, puts};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let at_ms = arguments.next().and_then(|number| number.parse().ok());
    let (Some(folder), Some(at_ms)) = (folder, at_ms) else {
        eprintln!("usage: ccf_ledger <empty folder> <milliseconds since 1970>");
        return ExitCode::FAILURE;
    };
    match write(&folder, at_ms) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ccf_ledger: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path, at_ms: u64) -> std::io::Result<()> {
    let mut service = Service::found(1, at_ms);
    let (name, snapshot) = service.live();
    // An open file at the end, as a running node has it.
    service.append(puts(&[("public:records", "open", "end")]));
    service.sign(Flags::NONE);
    for sub in ["ledger", "snapshots", "receipts"] {
        fs::create_dir_all(folder.join(sub))?;
    }
    fs::write(folder.join("service.pem"), service.certificate())?;
    fs::write(folder.join("snapshots").join(name.to_string()), snapshot)?;
    for (name, bytes) in service.files() {
        fs::write(folder.join("ledger").join(name.to_string()), bytes)?;
    }
    let signed = service.signatures.last().copied().unwrap_or(0);
    for seqno in (1..signed).filter(|seqno| !service.signatures.contains(seqno)) {
        let (covering, entry) = (service.covering(seqno), service.entry(seqno));
        let json = covering.receipt(entry, &service.secret).expect("it is signed").to_json();
        let cose = covering.cose(entry, &service.secret).expect("it is signed");
        fs::write(folder.join("receipts").join(format!("{seqno}.json")), json)?;
        fs::write(folder.join("receipts").join(format!("{seqno}.cose")), cose)?;
    }
    let own = service.covering(signed - 1).own_receipt().expect("it has a certificate");
    fs::write(folder.join("receipts").join(format!("{signed}.json")), own.to_json())
}
