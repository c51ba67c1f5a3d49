"""The peer "python-socketio on aiohttp with uvloop". Its duties are listed in ../README.md."""

import asyncio
import json
import platform
import socket
import time
import uuid
from importlib.metadata import version

import socketio
import uvloop
from aiohttp import web

CHUNK_DELAY = 0.033

sio = socketio.AsyncServer(async_mode="aiohttp", transports=["websocket"])
users: dict[str, str] = {}
streams: set[asyncio.Task] = set()


def now() -> int:
    return int(time.time() * 1000)


def room(sid: str, agent: str) -> str:
    return f"chat:{agent}:{users[sid]}"


@sio.event
async def connect(sid, _environ, auth):
    user = "u" + (auth or {}).get("token", "k0")[1:]
    users[sid] = user
    await sio.enter_room(sid, f"user:{user}")
    await sio.enter_room(sid, "global")


@sio.event
async def disconnect(sid, _reason):
    users.pop(sid, None)


@sio.on("chat:join")
async def join(sid, data):
    await sio.enter_room(sid, room(sid, data["agentId"]))
    return {"ok": True}


@sio.on("chat:leave")
async def leave(sid, data):
    await sio.leave_room(sid, room(sid, data["agentId"]))
    return {"ok": True}


@sio.on("chat:typing")
async def typing(sid, data):
    agent = data["agentId"]
    event = {"agentId": agent, "userId": users[sid], "isTyping": data["isTyping"], "timestamp": now()}
    await sio.emit("chat:typing", event, room=room(sid, agent))


@sio.on("chat:message")
async def message(sid, data):
    task = asyncio.create_task(stream(room(sid, data["agentId"]), data["agentId"], data["message"].split(" ")))
    streams.add(task)
    task.add_done_callback(streams.discard)


async def stream(place: str, agent: str, words: list[str]) -> None:
    message_id = str(uuid.uuid4())
    for index, word in enumerate(words):
        await asyncio.sleep(CHUNK_DELAY)
        event = {
            "agentId": agent,
            "messageId": message_id,
            "chunk": f"{word} ",
            "index": index,
            "timestamp": now(),
        }
        await sio.emit("chat:message:stream", event, room=place)


async def main() -> None:
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    await web.SockSite(runner, listener, backlog=4096).start()
    names = ("python-socketio", "aiohttp", "uvloop")
    versions = ", ".join([f"CPython {platform.python_version()}"] + [f"{name} {version(name)}" for name in names])
    mount = {"dialect": "chat", "address": f"127.0.0.1:{port}", "path": "/socket.io"}
    print(json.dumps({"ready": True, "mounts": [mount], "versions": versions}), flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
