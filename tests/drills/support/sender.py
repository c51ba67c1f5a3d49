"""People who send numbered messages with python-socketio, come back by themselves, and send again what was not acknowledged.

Takes `go`, `halt` and `report` on standard input, a line each. Says on standard output how it goes, ten times a second, and what
each did when it is asked to report: one line of JSON each.
"""

import asyncio
import json
import logging
import sys
import time

import socketio

# Losing a connection is what this is about.
logging.disable(logging.CRITICAL)


class Sender:
    def __init__(self, number, person, settings):
        self.name, self.person, self.window = f"python-{number}", person, settings["window"]
        self.settings = settings
        self.sent, self.going = 0, False
        self.acknowledged, self.waiting, self.trouble = {}, {}, []
        self.reasons, self.back = [], []
        self.told = asyncio.Event()
        soon = {"reconnection_delay": 0.04, "reconnection_delay_max": 0.12} if settings["soon"] else {}
        self.client = socketio.AsyncClient(**soon)
        self.client.on("connect", self.came)
        self.client.on("disconnect", self.went)

    async def run(self):
        asyncio.create_task(self.talk())
        while True:
            try:
                token = {"token": f"key-of-{self.person}"}
                return await self.client.connect(self.settings["url"], socketio_path=self.settings["path"], auth=token)
            except socketio.exceptions.ConnectionError:
                await asyncio.sleep(0.1)

    async def came(self):
        self.back.append(time.monotonic())
        # In the order in which they were sent first.
        for number in list(self.waiting):
            await self.say(number)
        self.told.set()

    async def went(self, reason):
        self.reasons.append(str(reason))

    async def talk(self):
        while True:
            await self.told.wait()
            self.told.clear()
            while self.going and self.client.connected and len(self.waiting) < self.window:
                number, self.sent = self.sent, self.sent + 1
                self.waiting[number] = True
                await self.say(number)

    async def say(self, number):
        text = f"{self.name} {number}"
        message = {"agentId": f"agent-of-{self.person}", "message": text, "clientMessageId": text}

        def answered(answer):
            if answer.get("ok") is not True:
                self.trouble.append(answer)
                return
            self.acknowledged[number] = {"id": answer["id"], "seq": answer["seq"]}
            self.waiting.pop(number, None)
            self.told.set()

        try:
            await self.client.emit("chat:message", message, callback=answered)
        except socketio.exceptions.SocketIOError:
            # It is sent again when the connection is back.
            pass

    def report(self):
        known = ["name", "person", "sent", "trouble", "reasons"]
        return {name: getattr(self, name) for name in known} | {"acknowledged": list(self.acknowledged.items())}


async def main():
    settings = json.loads(sys.argv[1])
    senders = [Sender(number, person, settings) for number, person in enumerate(settings["people"])]
    for sender in senders:
        asyncio.create_task(sender.run())
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    asyncio.create_task(tell(senders))
    while line := await lines.readline():
        match line.decode().strip():
            case "report":
                print(json.dumps({"senders": [sender.report() for sender in senders]}), flush=True)
            case order:
                for sender in senders:
                    sender.going = order == "go"
                    sender.told.set()


async def tell(senders):
    while True:
        state = {
            "acknowledged": sum(len(sender.acknowledged) for sender in senders),
            "connected": sum(sender.client.connected and "/" in sender.client.namespaces for sender in senders),
            "waiting": sum(len(sender.waiting) for sender in senders),
        }
        print(json.dumps(state), flush=True)
        await asyncio.sleep(0.1)


asyncio.run(main())
