"""quorum-fullnode-py 1.3.2, unmodified, against running nodes."""

import base64
import json
import unittest

from quorum_fullnode_py import FullNode

from node import Network, wait_for


class FullNodeClient(unittest.TestCase):
    """An owner's node, and the node of another member that becomes a producer."""

    @classmethod
    def setUpClass(cls):
        cls.network = Network()
        cls.addClassCleanup(cls.network.stop)
        cls.owner = FullNode(port=cls.network.start("owner").port)
        cls.other = FullNode(port=cls.network.start("other").port)

    def create(self, name="py client"):
        created = self.owner.api.create_group(name, app_key="group_timeline")
        self.assertIn("group_id", created, created)
        self.assertTrue(created["seed"].startswith("rum://seed?v=1"), created)
        self.owner.group_id = created["group_id"]
        return created

    def join(self, created):
        joined = self.other.api.join_group(created["seed"])
        self.assertEqual(joined.get("group_id"), created["group_id"], joined)
        self.other.group_id = created["group_id"]
        wait_for(
            "the joiner knows who orders the group",
            lambda: self.other.api.get_consensus().get("producers"))
        return joined

    def packaged(self, client, trx_ids):
        for trx_id in trx_ids:
            wait_for(
                f"trx {trx_id} in a block",
                lambda: client.api.get_trx(trx_id).get("TrxId") == trx_id)

    def test_node_and_network(self):
        info = self.owner.api.node_info()
        self.assertEqual(info["node_status"], "NODE_ONLINE")
        self.assertTrue(info["node_version"].startswith("2.0.0"), info)
        network = self.owner.api.network()
        self.assertEqual(network["peer_id"], info["node_id"])

    def test_create_seed_join_and_leave(self):
        created = self.create("create and leave")
        group_id = created["group_id"]
        self.assertIn(group_id, self.owner.api.groups_id)
        info = self.owner.api.group_info()
        self.assertEqual(info["user_pubkey"], info["owner_pubkey"])
        self.assertEqual(info["group_name"], "create and leave")
        seed = self.owner.api.seed()
        self.assertTrue(seed.startswith("rum://seed?v=1"), seed)
        joined = self.other.api.join_group(seed)
        self.assertEqual(joined["owner_pubkey"], info["owner_pubkey"])
        self.assertEqual(len(joined["signature"]), 130)
        again = self.other.api.join_group(seed)
        self.assertIn("already exist", again["message"])
        self.assertEqual(self.other.api.leave_group(group_id)["group_id"], group_id)
        self.assertNotIn(group_id, self.other.api.groups_id)
        self.assertEqual(self.other.api.clear_group(group_id)["group_id"], group_id)
        address = self.owner.api.pubkeytoaddr(info["owner_pubkey"])
        self.assertEqual(address.lower(), info["user_eth_addr"].lower())

    def test_a_hundred_posts_are_read_back_in_order(self):
        created = self.create("hundred posts")
        self.join(created)
        posts = [{"type": "Create", "object": {"type": "Note", "content": f"post {n}"}}
                 for n in range(100)]
        ids = []
        for post in posts:
            answer = self.owner.api.post_content(post)
            self.assertIn("trx_id", answer, answer)
            ids.append(answer["trx_id"])
        self.assertEqual(len(set(ids)), 100)
        self.packaged(self.owner, ids)
        self.packaged(self.other, ids)
        for client in (self.owner, self.other):
            read = client.api.get_content(num=200)
            self.assertEqual([t["TrxId"] for t in read], ids)
            self.assertEqual([t["Data"] for t in read], posts)
            newest = client.api.get_content(num=3, reverse=True)
            self.assertEqual([t["TrxId"] for t in newest], ids[:-4:-1])
            page = client.api.get_content(start_trx=ids[9], num=10)
            self.assertEqual([t["TrxId"] for t in page], ids[10:20])
            page = client.api.get_content(start_trx=ids[9], num=10, include_start_trx=True)
            self.assertEqual([t["TrxId"] for t in page], ids[9:19])
        one = self.other.api.trx(ids[50])
        self.assertEqual(one["Data"], posts[50])
        raw = self.other.api.get_trx(ids[50])
        self.assertEqual(raw["Version"], "2.0.0")
        self.assertIsInstance(raw["TimeStamp"], str)
        self.assertIsInstance(raw["Expired"], int)
        self.assertNotEqual(base64.b64decode(raw["Data"]), json.dumps(posts[50]).encode())
        nobody = self.owner.api.get_content(senders=[self.other.api.group_info()["user_pubkey"]])
        self.assertEqual(nobody, [])

        top = self.owner.api.group_info()["currt_top_block"]
        found, previous = [], None
        for block_id in range(top + 1):
            block = self.owner.api.get_block(block_id)
            self.assertEqual(block.get("BlockId", 0), block_id)
            self.assertEqual(block.get("PrevHash"), previous)
            previous = block["BlockHash"]
            found += [t["TrxId"] for t in block.get("Trxs") or []]
        self.assertEqual([t for t in found if t in set(ids)], ids)

    def test_announce_and_change_the_consensus(self):
        created = self.create("consensus")
        self.join(created)
        genesis = self.owner.api.get_consensus_last()
        self.assertEqual(genesis["result"], "SUCCESS")
        # The joiner knows it as soon as it has heard of the group from somebody.
        wait_for("the genesis proof on both", lambda: (
            self.other.api.get_consensus_last() == genesis
        ))
        owner_key = self.owner.api.group_info()["owner_pubkey"]
        other_key = self.other.api.group_info()["user_pubkey"]
        self.assertEqual(self.owner.api.producers(), [owner_key])

        not_announced = self.owner.api.update_consensus(
            trx_epoch_tick=500, producer_pubkey=[owner_key, other_key])
        self.assertEqual(not_announced["message"], f"producer <{other_key}> is not announced")
        announced = self.other.api.announce_as_producer()
        self.assertEqual(announced["type"], "AS_PRODUCER", announced)
        self.assertEqual(announced["action"], "ADD")
        self.assertEqual(announced["sign_pubkey"], other_key)
        self.packaged(self.owner, [announced["trx_id"]])
        for client in (self.owner, self.other):
            items = wait_for("both are announced", lambda: (
                lambda p: p if len(p) == 2 else None)(
                    client.api.get_announced_producers()["producers"]))
            keys = {i["Content"]["SignPubkey"] for i in items}
            self.assertEqual(keys, {owner_key, other_key})

        changed = self.owner.api.update_consensus(
            start_from_epoch=1000, trx_epoch_tick=500, agreement_tick_length=2000,
            agreement_tick_count=10, producer_pubkey=[owner_key, other_key])
        self.assertIn("trx_id", changed, changed)
        self.assertEqual(changed["Producers"], [owner_key, other_key])
        self.assertEqual(changed["failable_producers"], 0)
        self.packaged(self.owner, [changed["trx_id"]])
        self.packaged(self.other, [changed["trx_id"]])
        self.assertEqual(self.other.api.get_trx(changed["trx_id"])["Type"], 2)
        for client in (self.owner, self.other):
            now = wait_for("two producers", lambda: (
                lambda c: c if len(c["producers"]) == 2 else None)(client.api.get_consensus()))
            self.assertEqual(now["trx_epoch_interval"], 500)
            self.assertGreaterEqual(now["curr_epoch"], 1000)
            self.assertEqual(
                {p["ProofTrxId"] for p in now["producers"]}, {changed["trx_id"]})
            self.assertEqual(client.api.producers(), [owner_key, other_key])
        last = self.owner.api.get_consensus_last()
        history = self.owner.api.get_consensus_history()
        self.assertEqual([p["req"].get("Nonce", 0) for p in history["proofs"]], [0, 1])
        self.assertEqual(history["proofs"], [genesis, last])
        self.assertEqual(self.other.api.get_consensus_last(), last)
        self.assertEqual(self.other.api.get_consensus_history(), history)
        req_id = last["req"]["ReqId"]
        self.assertEqual(self.owner.api.get_consensus()["proof_req_id"], req_id)
        one = self.owner.api.get_consensus_req(req_id)
        self.assertEqual(len(one["resps"]), 2)
        self.assertEqual(one["resps"][0]["Req"], last["req"])
        self.assertEqual(one, self.other.api.get_consensus_req(req_id))
        # The client leaves out what did not change; then there is nothing to ask for.
        same = self.owner.api.update_consensus(
            start_from_epoch=1000, trx_epoch_tick=500, agreement_tick_length=2000,
            agreement_tick_count=10, producer_pubkey=[owner_key, other_key])
        self.assertEqual(same, {"message": "Nothing to update"})
        # Only the length of an epoch, everything else from the last request.
        slower = self.owner.api.update_consensus(trx_epoch_tick=1000)
        self.packaged(self.other, [slower["trx_id"]])
        wait_for("the new interval on both", lambda: all(
            c.api.get_consensus()["trx_epoch_interval"] == 1000
            for c in (self.owner, self.other)))
        self.assertEqual(len(self.other.api.get_consensus_history()["proofs"]), 3)
        refused = self.other.api.update_consensus(trx_epoch_tick=2000)
        self.assertEqual(refused["message"], "Only group owner can do this")
        post = self.other.api.post_content({"type": "Create", "object": {"content": "after"}})
        self.packaged(self.owner, [post["trx_id"]])


if __name__ == "__main__":
    unittest.main()
