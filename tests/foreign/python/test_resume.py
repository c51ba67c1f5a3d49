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


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], None], ids=["websocket", "polling", "default"])
async def test_a_kill_of_the_server_gives_nothing_extra_to_a_client_that_does_not_ask(configured, transports):
    asks = socketio.AsyncClient()
    asks.on("*", lambda *_: None)
    auth = {"token": secret("key-of-ada"), "recover": True}
    await asks.connect(configured.url, socketio_path=PATH, auth=auth, transports=transports, wait_timeout=PATIENCE)
    soon = {"reconnection_delay": 0.05, "reconnection_delay_max": 0.2}
    client = socketio.AsyncClient(**soon)
    # Its handler takes one argument, and says so when there are more.
    heard = Heard(client)
    connections = asyncio.Queue()
    client.on("connect", lambda: connections.put_nowait(client.get_sid()))
    await connected(configured, client, "key-of-ada", transports)
    sids = [await asyncio.wait_for(connections.get(), PATIENCE)]
    for number in range(2):
        answer = await client.call("chat:message", {"agentId": "helper", "message": f"number {number}"}, timeout=PATIENCE)
        assert answer["ok"] is True
        await heard.count("chat:message:complete", number + 1)
        await asyncio.to_thread(configured.kill)
        await asyncio.to_thread(configured.start)
        sids.append(await asyncio.wait_for(connections.get(), PATIENCE))
    answer = await client.call("chat:message", {"agentId": "helper", "message": "number 2"}, timeout=PATIENCE)
    assert answer["ok"] is True
    await heard.count("chat:message:complete", 3)
    # Each time it was somebody new, who heard nothing of before.
    assert len(set(sids)) == 3
    await heard.count("system:connection", 3)
    assert [message["content"] for message in heard.all("chat:message")] == ["number 0", "number 1", "number 2"]
    await asks.disconnect()
    await client.disconnect()
