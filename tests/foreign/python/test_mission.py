"""Does the mission API's Python example run against the demo as its document has it, and does every path let such a client in?"""

import asyncio
import sys

import pytest
import socketio

from canaries import secret
from test_backend import ask
from test_chat import PATIENCE, Heard, over_each_transport

# Word for word.
EXAMPLE = """
import asyncio
import socketio

sio = socketio.AsyncClient()

@sio.event
async def connect():
    print("Connected!")
    await sio.emit('subscribe', {'room': 'agent:123'})

@sio.on('agent:status_changed')
async def on_status_change(data):
    print(f"Status changed: {data}")

async def main():
    await sio.connect(
        'http://localhost:8000',
        auth={'token': 'your-jwt-token'},
        namespaces=['/']
    )
    await asyncio.sleep(60)
    await sio.disconnect()

asyncio.run(main())
"""

TOKEN = secret("your-jwt-token")


async def test_the_documents_example_hears_how_an_agent_changes(demo):
    example = EXAMPLE.replace("localhost:8000", demo.at("mission"))
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", example, stdout=asyncio.subprocess.PIPE, env={"no_proxy": "*"}
    )
    try:
        line = await asyncio.wait_for(program.stdout.readline(), PATIENCE)
        assert line == b"Connected!\n"
        status, _ = await asyncio.to_thread(
            ask, demo, "POST", "/v1/commands", {"command": "ControlAgent", "agent": "123", "control": "restart"}
        )
        assert status == 200
        line = await asyncio.wait_for(program.stdout.readline(), PATIENCE)
        assert line.startswith(b"Status changed: {") and b"'new_status': 'initializing'" in line, line
    finally:
        program.kill()
        await program.wait()


@over_each_transport
@pytest.mark.parametrize("path", ["socket.io", "/ws", "/ws/", "/ws/socket.io"])
async def test_a_client_comes_in_at_every_path_and_its_heartbeat_comes_back(demo, path, transports):
    client = socketio.AsyncClient()
    heard = Heard(client)
    url = "http://" + demo.at("mission")
    await client.connect(url, socketio_path=path, auth={"token": TOKEN}, transports=transports, wait_timeout=PATIENCE)
    await client.emit("subscribe", {"room": "agent:123"})
    assert await heard.count("subscribed", 1) == [{"room": "agent:123"}]
    # As the script that came with the system sends it.
    await client.emit("heartbeat", {"timestamp": 1234567890.25})
    assert await heard.count("heartbeat_ack", 1) == [{"timestamp": 1234567890.25}]
    await client.disconnect()


@pytest.mark.parametrize("path", ["socket.io", "/ws"])
async def test_a_bad_token_is_refused_in_the_documented_words(demo, path):
    client, why = socketio.AsyncClient(reconnection=False), []
    client.on("connect_error", why.append)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(
            "http://" + demo.at("mission"), socketio_path=path, auth={"token": "nobodys-token"}, wait_timeout=PATIENCE
        )
    assert why == [{"message": "Invalid authentication"}]
    await client.disconnect()
