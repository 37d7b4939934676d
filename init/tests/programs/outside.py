"""Hands listening sockets over as an engine does, then becomes what follows.
`NAME=PORT` is one on loopback, `NAME=-` one that is closed again; what names
no variable ends them. The environment may already say LISTEN_PID or
LISTEN_FDNAMES in its own way."""

import os
import socket
import sys

words = sys.argv[1:]
wanted = []
while "=" in words[0]:
    wanted.append(words.pop(0).split("=", 1))
opened = []
for at, (_, port) in enumerate(wanted):
    listener = socket.socket()
    if port != "-":
        listener.bind(("127.0.0.1", int(port)))
        listener.listen(16)
    opened.append(os.dup2(listener.detach(), 100 + at))
for at, fd in enumerate(opened):
    os.dup2(fd, 3 + at)
os.closerange(3 + len(opened), 200)
for at, (_, port) in enumerate(wanted):
    if port == "-":
        os.close(3 + at)
os.environ["LISTEN_FDS"] = str(len(opened))
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.environ.setdefault("LISTEN_FDNAMES", ":".join(name for name, _ in wanted))
os.execvp(words[0], words)
