"""Answers each connection or datagram with its own number, on the socket that
it was given, or with `tcp PORT`, `udp PORT` or `unix PATH` on one of its own.
Where ANSWERS says how many, it ends after so many."""

import os
import signal
import socket
import sys


def own(kind, place):
    if kind == "unix":
        if os.path.exists(place):
            os.unlink(place)
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(place)
    else:
        stream = kind == "tcp"
        opened = socket.socket(type=socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", int(place)))
    if kind != "udp":
        opened.listen(128)
    return opened


listener = own(*sys.argv[1:]) if len(sys.argv) > 1 else socket.socket(fileno=3)
left = int(os.environ.get("ANSWERS", "1000000000"))
stopping = False


def stop(*_):
    global stopping
    stopping = True


# It ends between two questions, as a graceful server does.
signal.signal(signal.SIGTERM, stop)
print("serves", flush=True)
listener.settimeout(0.02)
while not stopping and left > 0:
    try:
        if listener.type == socket.SOCK_DGRAM:
            _, whence = listener.recvfrom(64)
            listener.sendto(b"%d" % os.getpid(), whence)
        else:
            connection, _ = listener.accept()
            connection.settimeout(10)
            connection.recv(16)
            connection.sendall(b"%d" % os.getpid())
            connection.close()
    except TimeoutError:
        continue
    left -= 1
