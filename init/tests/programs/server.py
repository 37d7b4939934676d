"""Answers each connection with its own number, on a socket that it was given,
or, with a port as argument, on one of its own."""

import os
import signal
import socket
import sys

if len(sys.argv) > 1:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(sys.argv[1])))
    listener.listen(128)
else:
    listener = socket.socket(fileno=3)

stopping = False


def stop(*_):
    global stopping
    stopping = True


# It ends between two connections, as a graceful server does.
signal.signal(signal.SIGTERM, stop)
print("serves", flush=True)
listener.settimeout(0.02)
while not stopping:
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        continue
    connection.settimeout(10)
    connection.recv(16)
    connection.sendall(b"%d" % os.getpid())
    connection.close()
