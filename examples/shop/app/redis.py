"""As much of redis' protocol (RESP 2) as the shop needs."""

import socket

ADDRESS = ("127.0.0.1", 6379)


class Error(Exception):
    """What redis answered instead of a value."""


def call(*words):
    """Send one command and return its answer."""
    request = b"*%d\r\n" % len(words)
    for word in words:
        data = str(word).encode()
        request += b"$%d\r\n%s\r\n" % (len(data), data)
    with socket.create_connection(ADDRESS, timeout=2) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answers:
            return _answer(answers)


def _answer(answers):
    line = answers.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    if kind == b"+":
        return rest.decode()
    if kind == b":":
        return int(rest)
    if kind == b"$":
        length = int(rest)
        return None if length < 0 else answers.read(length + 2)[:length].decode()
    raise Error(rest.decode() or "no answer")
