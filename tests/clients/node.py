"""Nodes of the program under test, as the Python clients need them: real processes, own data
directories, everything gone at the end."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QUORATE_BIN", str(ROOT / "target" / "debug" / "quorate"))
LIMIT = 60.0


def wait_for(what, look, limit=LIMIT):
    """Looks until the result is true, and returns it."""
    deadline = time.monotonic() + limit
    last = None
    while time.monotonic() < deadline:
        try:
            last = look()
            if last:
                return last
        except Exception as error:  # a node that is not there yet is an answer too
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {limit} s; last: {last!r}")


class Node:
    """One node. Ends when its standard input closes, so also when this process does."""

    def __init__(self, network, name, kind="node"):
        self.network, self.name, self.kind = network, name, kind
        self.dir = network.dir / name
        self.dir.mkdir()
        self.log = open(network.dir / f"{name}.log", "ab")
        command = [
            BINARY, kind, "run", "--output", "json", "--exit-with-parent",
            "--keystore-cost", "4", "--data-dir", str(self.dir),
            "--api-listen", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0",
        ]
        for peer in network.peers:
            command += ["--peer", peer]
        env = {k: v for k, v in os.environ.items() if not k.startswith("QUORATE_")}
        env["QUORATE_KEYSTORE_PASSWORD"] = network.password
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        timer = threading.Timer(LIMIT, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            tail = (network.dir / f"{name}.log").read_text()[-2000:]
            raise AssertionError(f"node {name} did not become ready:\n{tail}")
        self.ready = json.loads(line)

    @property
    def port(self):
        return int(self.ready["api"].rsplit(":", 1)[1])

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


class Network:
    """A bootstrap node and any number of nodes."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="quorate-clients-"))
        self.password = secrets.token_hex(16)
        self.nodes, self.peers = [], []
        bootstrap = self.start("bootstrap", kind="bootstrap")
        self.peers = bootstrap.ready["listen"][:1]

    def start(self, name, kind="node"):
        node = Node(self, name, kind)
        self.nodes.append(node)
        return node

    def stop(self):
        for node in reversed(self.nodes):
            node.stop()
        shutil.rmtree(self.dir)
