"""Does the official Python client stay as it was where others resume their sessions?"""

import asyncio

import pytest
import socketio

from test_chat import Heard, PATIENCE, connected
from canaries import secret
from server import PATH


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], None], ids=["websocket", "polling", "default"])
async def test_no_client_that_does_not_ask_ever_gets_an_extra_argument(configured, transports):
    asks = socketio.AsyncClient()
    offsets = []
    spoken_to = asyncio.Event()

    async def hear(event, *arguments):
        offsets.append(arguments[1:])
        spoken_to.set()

    asks.on("*", hear)
    auth = {"token": secret("key-of-ada"), "recover": True}
    await asks.connect(configured.url, socketio_path=PATH, auth=auth, transports=transports, wait_timeout=PATIENCE)
    # Every handler of this one takes one argument, and says so when there are more.
    client = socketio.AsyncClient()
    heard = Heard(client)
    await connected(configured, client, "key-of-ada", transports)
    for number in range(3):
        answer = await client.call("chat:message", {"agentId": "helper", "message": f"number {number}"}, timeout=PATIENCE)
        assert answer["ok"] is True
        # Whoever asks hears the same conversation, in the same rooms.
        joined = await asks.call("chat:join", {"agentId": "helper"}, timeout=PATIENCE)
        assert joined["ok"] is True
    await heard.count("chat:message:complete", 3)
    await asyncio.wait_for(spoken_to.wait(), PATIENCE)
    assert all(len(further) == 1 and isinstance(further[0], str) for further in offsets)
    await asks.disconnect()
    await client.disconnect()
