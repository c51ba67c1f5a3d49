"""Does the official Python client converse with the real server as it does with its own?"""

import asyncio
import sqlite3
import threading

import pytest
import socketio

from canaries import secret
from server import PATH

TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "default": None}

# How long anything may take before a test gives up, in seconds.
PATIENCE = 15

CONVERSATION = ("chat:message", "relation:updated", "chat:typing", "chat:message:stream", "chat:message:complete")

over_each_transport = pytest.mark.parametrize("transports", TRANSPORTS.values(), ids=TRANSPORTS)


class Heard:
    """Everything that an asyncio client hears, in order."""

    def __init__(self, client):
        self.events = []
        self._changed = asyncio.Condition()
        client.on("*", self._hear)

    async def _hear(self, event, *arguments):
        # Every documented event has one payload, and a handler for it takes one argument.
        assert len(arguments) == 1, (event, arguments)
        async with self._changed:
            self.events.append((event, arguments[0]))
            self._changed.notify_all()

    async def count(self, name, count):
        """Waits for so many events called `name`; returns their payloads."""
        async with self._changed:
            enough = self._changed.wait_for(lambda: len(self.all(name)) >= count)
            await asyncio.wait_for(enough, PATIENCE)
        return self.all(name)

    def all(self, name):
        return [payload for event, payload in self.events if event == name]


async def connected(server, client, token, transports=None):
    secret(token)
    await client.connect(server.url, socketio_path=PATH, auth={"token": token}, transports=transports, wait_timeout=PATIENCE)
    return client


def assert_conversation(events, text):
    """That `events` are one message and its whole answer, in the documented order."""
    events = [(event, payload) for event, payload in events if event in CONVERSATION]
    stream = [payload for event, payload in events if event == "chat:message:stream"]
    assert [event for event, _ in events] == [
        "chat:message",
        "relation:updated",
        "chat:typing",
        *["chat:message:stream"] * len(stream),
        "chat:typing",
        "chat:message:complete",
    ]
    assert (events[0][1]["role"], events[0][1]["content"]) == ("user", text)
    assert [payload["isTyping"] for event, payload in events if event == "chat:typing"] == [True, False]
    assert [piece["index"] for piece in stream] == list(range(len(stream)))
    complete = events[-1][1]
    assert "".join(piece["chunk"] for piece in stream).strip() == complete["fullContent"]
    assert {piece["messageId"] for piece in stream} == {complete["messageId"]}


@over_each_transport
async def test_the_documented_conversation_takes_place(demo, transports):
    client = socketio.AsyncClient()
    heard = Heard(client)
    await connected(demo, client, "your-api-key", transports)
    assert client.transport() == ("polling" if transports == ["polling"] else "websocket")

    await client.emit("chat:message", {"agentId": "agent-123", "message": "Hello!", "userId": "user-123"})
    await heard.count("chat:message:complete", 1)

    assert heard.events[0][0] == "system:connection"
    assert_conversation(heard.events, "Hello!")
    await client.disconnect()


def test_the_blocking_client_converses(demo):
    heard, complete = [], threading.Event()
    client = socketio.Client()

    @client.on("*")
    def hear(event, payload):
        heard.append((event, payload))
        if event == "chat:message:complete":
            complete.set()

    client.connect(demo.url, socketio_path=PATH, auth={"token": "your-api-key"}, wait_timeout=PATIENCE)
    assert client.transport() == "websocket"
    answer = client.call("chat:message", {"agentId": "luna", "message": "¿Qué tal? 😀"}, timeout=PATIENCE)
    assert answer["ok"] is True
    assert complete.wait(PATIENCE)
    assert_conversation(heard, "¿Qué tal? 😀")
    client.disconnect()


async def test_handlers_by_name_get_the_payload_alone(demo):
    client = socketio.AsyncClient()
    gathered = {name: asyncio.get_running_loop().create_future() for name in CONVERSATION}
    for name, future in gathered.items():
        # A handler with exactly one parameter: a second argument would be a TypeError and no result.
        client.on(name, lambda payload, future=future: future.done() or future.set_result(payload))
    await connected(demo, client, "your-api-key")
    await client.emit("chat:message", {"agentId": "agent-123", "message": "Hello!"})
    for payload in await asyncio.wait_for(asyncio.gather(*gathered.values()), PATIENCE):
        assert payload["agentId"] == "agent-123"
    await client.disconnect()


async def test_an_acknowledgement_tells_that_it_was_done_or_why_not(configured):
    client = await connected(configured, socketio.AsyncClient(), "key-of-ada")
    done = await client.call("chat:message", {"agentId": "helper", "message": "Hello"}, timeout=PATIENCE)
    assert (done["ok"], done["seq"]) == (True, 1)
    for payload, code in [
        ({"agentId": "nobody", "message": "Hello"}, "AGENT_NOT_FOUND"),
        ({"agentId": "helper", "message": "Hello", "userId": "cleo"}, "FORBIDDEN"),
        ({"agentId": "helper", "message": b"Hello"}, "MESSAGE_ERROR"),
    ]:
        refused = await client.call("chat:message", payload, timeout=PATIENCE)
        assert (refused["ok"], refused["error"]["code"]) == (False, code)
    await client.emit("no:such:event", b"\x00\xff" * 50_000)
    joined = await client.call("chat:join", {"agentId": "helper"}, timeout=PATIENCE)
    # Whether the answer is there by now is the agent's business.
    assert joined["ok"] and joined["seq"] in (1, 2)
    await client.disconnect()


@over_each_transport
async def test_who_may_not_connect_reads_why(configured, transports):
    async def refusal(token):
        client, why = socketio.AsyncClient(reconnection=False), []
        client.on("connect_error", why.append)
        # The exception of this client names the namespace; what the server said goes to the handler.
        with pytest.raises(socketio.exceptions.ConnectionError, match="failed to connect: /"):
            await connected(configured, client, token, transports)
        assert not client.connected
        await client.disconnect()
        return why[0]

    assert await refusal("") == {"message": "Authentication token required"}
    assert await refusal("nobody's") == {"message": "Invalid authentication token"}
    for _ in range(2):
        client = await connected(configured, socketio.AsyncClient(), "key-of-cleo", transports)
        await client.disconnect()
    limited = await refusal("key-of-cleo")
    assert limited["message"] == "Rate limit exceeded"
    assert 0 < limited["data"]["retryAfterMs"] <= 60_000

    # The server cannot look up keys any more.
    with sqlite3.connect(configured.database) as database:
        database.execute("ALTER TABLE api_keys RENAME TO elsewhere")
    assert await refusal("key-of-ada") == {"message": "Authentication failed"}


async def test_a_namespace_that_is_not_served_is_refused(configured):
    client, why = socketio.AsyncClient(reconnection=False), []
    client.on("connect_error", why.append, namespace="/admin")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(
            configured.url,
            socketio_path=PATH,
            auth={"token": "key-of-ada"},
            namespaces=["/", "/admin"],
            wait_timeout=PATIENCE,
        )
    assert why == [{"message": "Invalid namespace"}]
    await client.disconnect()


@over_each_transport
async def test_a_client_comes_back_after_a_stop_and_after_a_crash(configured, transports):
    client = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.2)
    heard = Heard(client)
    reasons, back = asyncio.Queue(), asyncio.Queue()
    client.on("disconnect", reasons.put)
    client.on("connect", lambda: back.put_nowait(client.get_sid()))
    await connected(configured, client, "key-of-ada", transports)
    sids = [await asyncio.wait_for(back.get(), PATIENCE)]

    for count, end in enumerate([configured.stop, configured.kill], start=1):
        assert await asyncio.to_thread(end) in (0, None)
        reason = await asyncio.wait_for(reasons.get(), PATIENCE)
        # After any other reason clients stay away.
        assert reason == client.reason.TRANSPORT_ERROR
        await asyncio.to_thread(configured.start)
        sids.append(await asyncio.wait_for(back.get(), PATIENCE))
        answer = await client.call("chat:message", {"agentId": "helper", "message": "Still here?"}, timeout=PATIENCE)
        assert (answer["ok"], answer["seq"]) == (True, 2 * count - 1)
        await heard.count("chat:message:complete", count)

    assert len(set(sids)) == 3
    await client.disconnect()
