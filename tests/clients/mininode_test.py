"""quorum-mininode-py, unmodified: it takes our seeds, and orders what it signs itself."""

import unittest

from quorum_fullnode_py import FullNode
from quorum_mininode_py import MiniNode, decode_seed_url

from node import Network, wait_for


class MiniNodeClient(unittest.TestCase):
    """A light client that knows nothing but the seed."""

    @classmethod
    def setUpClass(cls):
        cls.network = Network()
        cls.addClassCleanup(cls.network.stop)
        cls.full = FullNode(port=cls.network.start("owner").port)
        created = cls.full.api.create_group("mini", include_chain_url=True)
        cls.full.group_id = created["group_id"]
        cls.seed = created["seed"]

    def test_it_derives_our_genesis_block_from_the_seed(self):
        for seed in (self.seed, self.full.api.seed(include_chain_url=True)):
            decoded = decode_seed_url(seed)
            info = self.full.api.group_info()
            self.assertEqual(decoded["seed"]["group_id"], info["group_id"])
            self.assertEqual(decoded["seed"]["group_name"], "mini")
            self.assertEqual(decoded["seed"]["owner_pubkey"], info["owner_pubkey"])
            self.assertEqual(decoded["seed"]["cipher_key"], info["cipher_key"])
            block = self.full.api.get_block(0)
            genesis = decoded["seed"]["genesis_block"]
            self.assertEqual(genesis["BlockHash"], block["BlockHash"])
            self.assertEqual(genesis["ProducerSign"], block["ProducerSign"])
            self.assertEqual(genesis["TimeStamp"], block["TimeStamp"])
            port = self.network.nodes[-1].port
            self.assertEqual(decoded["chain_urls"][0]["baseurl"], f"http://127.0.0.1:{port}")

    def test_what_it_signs_is_ordered_and_read_back(self):
        mini = MiniNode(self.seed)
        posts = [{"type": "Create", "object": {"type": "Note", "content": f"light {n}"}}
                 for n in range(5)]
        ids = [mini.api.post_content(post)["trx_id"] for post in posts]
        for trx_id, post in zip(ids, posts):
            wait_for("the trx in a block", lambda: self.full.api.get_trx(trx_id).get("TrxId"))
            self.assertEqual(mini.api.trx(trx_id)["Data"], post)
        read = mini.api.get_content(num=20, senders=[mini.account.pubkey])
        self.assertEqual([t["TrxId"] for t in read], ids)
        self.assertEqual([t["Data"] for t in read], posts)
        self.assertEqual(mini.api.get_group_info()["GroupId"], self.full.group_id)


if __name__ == "__main__":
    unittest.main()
