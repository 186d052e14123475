"""PyPI `ccf`, unmodified, reads ledgers of `cft` groups: files, signatures, receipts, snapshots.

QUORATE_CCF_DIRS names the folders to check, separated by colons. Each has `ledger/`, and may have
`snapshots/`, `receipts/` (`<seqno>.json`, `<seqno>.cose`) and `service.pem`. Without it, a ledger is
made by the example program `ccf_ledger` of the crate quorate-ledger.
"""

import contextlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from hashlib import sha256
from pathlib import Path

import ccf.cose
import ccf.ledger
import ccf.read_ledger
import ccf.receipt
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import load_pem_x509_certificate

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = os.environ.get(
    "QUORATE_CCF_EXAMPLE", str(ROOT / "target" / "debug" / "examples" / "ccf_ledger"))


def folders():
    """The folders to check, and what to delete in the end."""
    named = os.environ.get("QUORATE_CCF_DIRS")
    if named:
        return [Path(folder) for folder in named.split(":") if folder], None
    made = Path(tempfile.mkdtemp(prefix="quorate-ccf-"))
    subprocess.run([EXAMPLE, str(made), str(int(time.time() * 1000))], check=True)
    return [made], made


def validate(ledger_folder, committed_only=True):
    """What the package's validator says of a ledger: the last id that is proven."""
    ledger = ccf.ledger.Ledger([str(ledger_folder)], committed_only=committed_only)
    validator = ccf.ledger.LedgerValidator(accept_deprecated_entry_types=False)
    # The package keeps these in the class, where another ledger's nodes would be found.
    validator.node_certificates, validator.node_activity_status = {}, {}
    for chunk in ledger:
        for transaction in chunk:
            validator.add_transaction(transaction)
    return validator


class LedgerOfCft(unittest.TestCase):
    """Every check in every folder."""

    @classmethod
    def setUpClass(cls):
        cls.folders, made = folders()
        if made:
            cls.addClassCleanup(shutil.rmtree, made)

    def setUp(self):
        # The package leaves closing its files to the interpreter.
        warnings.simplefilter("ignore", ResourceWarning)

    def each(self, sub):
        """The folders that have something to check."""
        found = [folder for folder in self.folders if (folder / sub).exists()]
        if not found:
            self.skipTest(f"no folder has {sub}")
        return found

    def service(self, folder):
        """The service certificate: given, or as the ledger has it."""
        given = folder / "service.pem"
        if given.exists():
            return load_pem_x509_certificate(given.read_bytes())
        ledger = ccf.ledger.Ledger([str(folder / "ledger")], committed_only=False)
        tables, _ = ledger.get_latest_public_state()
        row = json.loads(tables["public:ccf.gov.service.info"][bytes(8)])
        return load_pem_x509_certificate(row["cert"].encode())

    def transactions(self, folder):
        ledger = ccf.ledger.Ledger([str(folder / "ledger")], committed_only=True)
        return {t.get_public_domain().get_seqno(): t for chunk in ledger for t in chunk}

    def test_the_validator_accepts_the_ledger(self):
        for folder in self.each("ledger"):
            validator = validate(folder / "ledger")
            last = max(self.transactions(folder))
            self.assertGreater(validator.signature_count, 0)
            self.assertEqual(validator.last_verified_txid().seqno, last, "ends on a signature")
            self.assertEqual(validator.service_status, "Open")
            names = list((folder / "ledger").iterdir())
            # A running node may have zeroed its open file ahead, which the package cannot read.
            if all(name.suffix == ".committed" or name.read_bytes()[-1:] != b"\0" for name in names):
                validate(folder / "ledger", committed_only=False)

    def test_the_validator_refuses_a_flipped_byte(self):
        for folder in self.each("ledger"):
            # The last signature is under no other: what it signs is before it.
            last = max(self.transactions(folder))
            errors = []
            for name in sorted((folder / "ledger").glob("*.committed")):
                chunk = ccf.ledger.LedgerChunk(str(name))
                first, end = chunk.get_seqnos()
                for seqno in {first, (first + end) // 2, end} - {last}:
                    transaction = chunk[seqno - first]
                    at, length = transaction.get_offsets()
                    # A byte of the tag, which nobody can check without the ledger secret, and the
                    # last one.
                    errors.append(self.refused(folder, name, at + 8))
                    self.assertIsInstance(errors[-1], ccf.ledger.InvalidRootException)
                    errors.append(self.refused(folder, name, at + length - 1))
            self.assertTrue(errors)

    def refused(self, folder, name, at):
        """How the validator refuses a ledger with this byte of this file flipped."""
        with tempfile.TemporaryDirectory() as copy:
            ledger = Path(copy) / "ledger"
            shutil.copytree(folder / "ledger", ledger)
            bad = bytearray((ledger / name.name).read_bytes())
            bad[at] ^= 1
            (ledger / name.name).write_bytes(bad)
            refusals = (
                ccf.ledger.InvalidRootException, ccf.ledger.InvalidRootSignatureException,
                ccf.ledger.InvalidRootCoseSignatureException, ccf.ledger.UntrustedNodeException,
                AssertionError, ValueError, KeyError, struct.error)
            with self.assertRaises(refusals, msg=f"{name.name} byte {at}") as caught:
                validate(ledger)
            return caught.exception

    def test_json_receipts_are_accepted_and_forgeries_refused(self):
        for folder in self.each("receipts"):
            service, transactions = self.service(folder), self.transactions(folder)
            files = sorted((folder / "receipts").glob("*.json"))
            self.assertTrue(files)
            for file in files:
                self.check_json(json.loads(file.read_text()), service, int(file.stem), transactions)

    def check_json(self, receipt, service, seqno, transactions):
        node = load_pem_x509_certificate(receipt["cert"].encode())
        endorsements = [load_pem_x509_certificate(c.encode())
                        for c in receipt.get("service_endorsements") or []]
        ccf.receipt.check_endorsements(node, service, endorsements)
        ccf.receipt.check_cert_chain(node, service, endorsements)
        self.assertEqual(receipt["node_id"], sha256(ccf.ledger.spki_from_cert(
            receipt["cert"].encode())).hexdigest())
        if receipt["is_signature_transaction"]:
            self.assertEqual(receipt["proof"], [])
            ccf.receipt.verify(receipt["leaf"], receipt["signature"], node)
            return
        parts = receipt["leaf_components"]
        evidence = parts["commit_evidence"].encode()
        leaf = sha256(bytes.fromhex(parts["write_set_digest"]) + sha256(evidence).digest()
                      + bytes.fromhex(parts["claims_digest"])).hexdigest()
        root = ccf.receipt.root(leaf, receipt["proof"])
        ccf.receipt.verify(root, receipt["signature"], node)
        self.assertTrue(evidence.decode().split(":")[1].endswith(f".{seqno}"), evidence)
        if seqno in transactions:
            transaction = transactions[seqno]
            self.assertEqual(transaction.get_tx_digest().hex(), leaf)
            self.assertEqual(transaction.get_write_set_digest().hex(), parts["write_set_digest"])
        for at in (0, 31, 63):
            bad = leaf[:at] + ("1" if leaf[at] == "0" else "0") + leaf[at + 1:]
            with self.assertRaises(InvalidSignature):
                ccf.receipt.verify(
                    ccf.receipt.root(bad, receipt["proof"]), receipt["signature"], node)

    def test_cose_receipts_are_accepted_and_forgeries_refused(self):
        for folder in self.each("receipts"):
            key, transactions = self.service(folder).public_key(), self.transactions(folder)
            files = sorted((folder / "receipts").glob("*.cose"))
            self.assertTrue(files)
            for file in files:
                receipt, seqno = file.read_bytes(), int(file.stem)
                known = transactions.get(seqno)
                claims = known.get_public_domain().get_claims_digest() if known else bytes(32)
                header = ccf.cose.verify_receipt(receipt, key, claims)
                signed = header["ccf.v1"]["txid"]
                self.assertGreater(int(signed.split(".")[1]), seqno)
                with self.assertRaises(ValueError):
                    ccf.cose.verify_receipt(receipt, key, b"\1" * 32)
                for at in range(3, len(receipt), max(1, len(receipt) // 5)):
                    bad = bytearray(receipt)
                    bad[at] ^= 1
                    with self.assertRaises(Exception, msg=f"{file.name} byte {at}"):
                        ccf.cose.verify_receipt(bytes(bad), key, claims)

    def test_snapshots_are_accepted_and_forgeries_refused(self):
        for folder in self.each("snapshots"):
            files = sorted((folder / "snapshots").glob("snapshot_*.committed"))
            self.assertTrue(files)
            for file in files:
                with ccf.ledger.Snapshot(str(file)) as snapshot:
                    seqno, evidence = ccf.ledger.snapshot_index_from_filename(file.name)
                    domain = snapshot.get_public_domain()
                    self.assertEqual(domain.get_seqno(), seqno)
                    self.assertIn("public:ccf.gov.service.info", domain.get_tables())
                    length = 8 + snapshot.get_transaction_header().size
                content = file.read_bytes()
                receipt = json.loads(content[length:])
                digest = sha256(content[:length]).hexdigest()
                self.assertEqual(receipt["leaf_components"]["claims_digest"], digest)
                self.check_json(receipt, self.service(folder), evidence, self.transactions(folder))
                with tempfile.TemporaryDirectory() as copy:
                    bad = content.replace(
                        receipt["leaf_components"]["claims_digest"].encode(), b"0" * 64)
                    forged = Path(copy) / file.name
                    forged.write_bytes(bad)
                    with self.assertRaises(InvalidSignature):
                        ccf.ledger.Snapshot(str(forged))

    def test_the_public_state_is_what_was_written(self):
        for folder in self.each("ledger"):
            ledger = ccf.ledger.Ledger([str(folder / "ledger")], committed_only=True)
            tables, seqno = ledger.get_latest_public_state()
            self.assertEqual(seqno, max(self.transactions(folder)))
            self.assertIn(bytes(8), tables["public:ccf.gov.service.info"])
            self.assertTrue(tables["public:ccf.gov.nodes.info"])
            self.assertFalse([name for name in tables if not name.startswith("public:")])

    def test_the_tool_for_reading_ledgers_runs(self):
        for folder in self.each("ledger"):
            paths = [str(p) for p in sorted((folder / "ledger").glob("*.committed"))]
            printed, argv = io.StringIO(), sys.argv
            sys.argv = ["read_ledger.py", *paths]
            try:
                with contextlib.redirect_stdout(printed):
                    ccf.read_ledger.main()
            except SystemExit as ended:
                self.assertIn(ended.code, (0, None))
            finally:
                sys.argv = argv
            self.assertIn("public:ccf.internal.signatures", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
