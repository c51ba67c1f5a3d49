"""Polling clients that ask and never read the answer.

Arguments: host, port, path, token, how many. Says the ports that they come from once all of them have a session, asks for what waits there when a line
comes on standard input, says `asked`, and then does nothing until its input ends.
"""

import json
import socket
import sys

host, port, path, token, count = sys.argv[1:]


def connection():
    sock = socket.socket()
    # The kernel doubles it, and takes no more for whoever does not read.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((host, int(port)))
    return sock


def ask(sock, method, target, body=""):
    head = f"{method} {path}/?EIO=4&transport=polling{target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    sock.sendall((head + body).encode())


def answer(sock):
    """The body of one answer, all of it."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += sock.recv(4096)
    head, body = text.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        body += sock.recv(4096)
    return body.decode()


waiting = []
for _ in range(int(count)):
    sock = connection()
    ask(sock, "GET", "")
    sid = "&sid=" + json.loads(answer(sock)[1:])["sid"]
    ask(sock, "POST", sid, "40" + json.dumps({"token": token}))
    answer(sock)
    ask(sock, "GET", sid)
    assert answer(sock).startswith("40")
    waiting.append((sock, sid))
print(json.dumps([sock.getsockname()[1] for sock, _ in waiting]), flush=True)
sys.stdin.readline()
for sock, sid in waiting:
    ask(sock, "GET", sid)
print("asked", flush=True)
sys.stdin.read()
