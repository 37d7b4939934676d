"""The sockets that a service is handed, by their names (sd_listen_fds(3))."""

import os
import socket


def sockets():
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ.get("LISTEN_FDS", "0"))
    return {
        name: socket.socket(fileno=fd) for name, fd in zip(names, range(3, 3 + count))
    }
