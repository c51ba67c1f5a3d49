"""Does a backend written in Python reach a client written in Python, and does taking a key back end what it opened?"""

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
import socketio

from canaries import secret
from server import PATH, ROOT
from test_chat import PATIENCE, Heard, connected, over_each_transport


# Whatever proxy leads out of here, none leads to the server.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(server, method, path, body=None):
    """What the HTTP API answers to a backend: the status, and what the JSON says if there is any."""
    request = urllib.request.Request(server.url + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", f"Bearer {server.service_key}")
    request.add_header("Content-Type", "application/json")
    try:
        with _direct.open(request, timeout=PATIENCE) as response:
            status, text = response.status, response.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    return status, json.loads(text) if text else None


async def test_the_example_is_heard_once_however_often_it_runs(demo):
    client = socketio.AsyncClient()
    heard = Heard(client)
    await connected(demo, client, "your-api-key")
    for _ in range(2):
        example = [sys.executable, str(ROOT / "examples/backend.py")]
        environment = {**os.environ, "ANTIPHON_URL": demo.url, "no_proxy": "*"}
        ran = await asyncio.to_thread(subprocess.run, example, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert (ran.returncode, ran.stderr) == (0, "")
        (message,) = await heard.count("chat:message", 1)
        assert (message["role"], message["content"]) == ("assistant", "Your order has been shipped.")
        assert message["id"] == json.loads(ran.stdout)["id"]
        # Whatever else was sent before this answer has arrived with it.
        await client.call("chat:leave", {"agentId": "nobody"}, timeout=PATIENCE)
    assert len(heard.all("chat:message")) == 1
    await client.disconnect()


@over_each_transport
async def test_a_client_whose_key_is_revoked_is_told_and_stays_away(configured, transports):
    status, issued = await asyncio.to_thread(ask, configured, "POST", "/v1/keys", {"person": "ada"})
    assert status == 201
    key = secret(issued["secret"])
    client = socketio.AsyncClient()
    heard, reasons = Heard(client), asyncio.Queue()
    client.on("disconnect", reasons.put)
    await connected(configured, client, key, transports)

    status, _ = await asyncio.to_thread(ask, configured, "DELETE", f"/v1/keys/{issued['key']['id']}")
    assert status == 204
    assert await asyncio.wait_for(reasons.get(), PATIENCE) == client.reason.SERVER_DISCONNECT
    event, payload = heard.events[-1]
    assert (event, payload["code"]) == ("chat:error", "UNAUTHORIZED")
    assert not client.connected

    again, why = socketio.AsyncClient(reconnection=False), []
    again.on("connect_error", why.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await again.connect(configured.url, socketio_path=PATH, auth={"token": key}, transports=transports, wait_timeout=PATIENCE)
    assert why == [{"message": "Invalid authentication token"}]
    await again.disconnect()
