"""The servers that tests ask for by name."""

import pytest

from canaries import seen_in
from server import Server


@pytest.fixture
def demo(tmp_path):
    """A demo that runs."""
    yield from _running(Server.demo(tmp_path))


@pytest.fixture
def configured(tmp_path):
    """A configured server that runs."""
    yield from _running(Server.configured(tmp_path))


def _running(server):
    server.start()
    try:
        yield server
    finally:
        server.close()
    assert "panicked" not in server.log()
    assert seen_in(server.log()) == 0, "a secret was logged"
