"""How a test gets a real server: the built binary, on a directory of its own, as a process that can be stopped and killed."""

import json
import os
import random
import signal
import socket
import subprocess
import threading
from pathlib import Path

from canaries import secret

ROOT = Path(__file__).resolve().parents[3]
BINARY = os.environ.get("ANTIPHON", str(ROOT / "target/debug/antiphon"))

# Where the configured server and the demo serve the chat API.
PATH = "/api/socketio"

# How long a server may take to be ready, and to end after a signal, in seconds.
PATIENCE = 20

# Known to every configured server.
RESIDENTS = [
    {"kind": "plan", "name": "open"},
    {"kind": "plan", "name": "two-a-minute", "connectionsPerMinute": 2},
    {"kind": "person", "id": "ada", "plan": "open"},
    {"kind": "key", "person": "ada", "key": secret("key-of-ada")},
    {"kind": "agent", "id": "helper", "owner": "ada", "name": "Helper"},
    {"kind": "person", "id": "cleo", "plan": "two-a-minute"},
    {"kind": "key", "person": "cleo", "key": secret("key-of-cleo")},
]

# This client does not say goodbye when it leaves while one of its polling POSTs is still unanswered; then it waits until the
# server answers the GET, which the short times make happen soon.
CONFIG = """
[server]
data = "{store}"
drain = 0

[[listener]]
address = "127.0.0.1:{port}"
api = true

[[listener.mount]]
path = "{path}"
dialects = ["chat"]
ping_interval = 2000
connect_timeout = 2000

[admin]
address = "127.0.0.1:0"

[model]
kind = "echo"
chunk_delay = 0
"""


class Server:
    """A server process. `start` may be called again after `stop` or `kill`."""

    def __init__(self, serve):
        self._arguments = [BINARY, "serve", *serve, "--announce", "json"]
        self._process = None
        self._log = []
        self._mounts = []
        self.url = None
        # What a backend shows to the HTTP API.
        self.service_key = None

    @classmethod
    def demo(cls, directory):
        """The demo, with the documents' keys, people and agents."""
        server = cls(["--demo", "--data", str(directory), "--any-port"])
        server.service_key = secret("your-service-key")
        return server

    @classmethod
    def configured(cls, directory):
        """A server with the residents above, on a port that stays the same. Its agents say at once what they are told."""
        people, config, store = directory / "people.jsonl", directory / "antiphon.toml", directory / "store"
        people.write_text("\n".join(json.dumps(line) for line in RESIDENTS))
        config.write_text(CONFIG.format(store=store, port=free_port(), path=PATH))
        _command("import", "--data", store, people)
        server = cls(["--config", str(config)])
        server.service_key = secret(_command("service-key", "create", "tests", "--data", store))
        server.database = store / "antiphon.db"
        return server

    def start(self):
        # At every level there is: whatever would print a secret has to show it here.
        environment = {**os.environ, "ANTIPHON_LOG": "trace"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._arguments, stdout=pipe, stderr=pipe, text=True, env=environment)
        threading.Thread(target=self._read_log, args=[self._process.stderr], daemon=True).start()
        # A server that is never ready is ended, and the line stays empty.
        watchdog = threading.Timer(PATIENCE, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        assert line, "the server did not start:\n" + "".join(self._log)
        mounts = json.loads(line)["mounts"]
        self.url = "http://" + next(mount["address"] for mount in mounts if mount["dialect"] == "chat")
        self._mounts = mounts
        return self

    def at(self, dialect):
        """Where the port is that serves this dialect, perhaps with others: `127.0.0.1:8000`."""
        return next(mount["address"] for mount in self._mounts if dialect in mount["dialect"].split("+"))

    def stop(self):
        """Asks the process to end and returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self):
        """Ends the process without a word."""
        self._end(signal.SIGKILL)

    def close(self):
        """Ends the process if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def log(self):
        """What the process has written to standard error."""
        return "".join(self._log)

    def _end(self, number):
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        self._process.stdout.close()
        return code

    def _read_log(self, stream):
        with stream:
            self._log.extend(stream)


def _command(*parameters):
    """What a command of the program writes; it has to be content."""
    done = subprocess.run([BINARY, *map(str, parameters)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def free_port():
    """A port that nobody listens on, below those that outgoing connections get: a client that tries to come back while the
    server is away could take one of those."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
