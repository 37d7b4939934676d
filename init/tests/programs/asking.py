"""Sends one request to a control socket and prints the first answer."""

import json
import socket
import struct
import sys


def frame(text):
    body = text.encode()
    return struct.pack("<I", len(body)) + body


def receive(stream):
    def exactly(count):
        data = b""
        while len(data) < count:
            piece = stream.recv(count - len(data))
            if not piece:
                raise SystemExit("hung up")
            data += piece
        return data

    return exactly(struct.unpack("<I", exactly(4))[0]).decode()


with socket.socket(socket.AF_UNIX) as stream:
    stream.settimeout(30)
    stream.connect(sys.argv[1])
    stream.sendall(frame(json.dumps({"version": 1, "program": "asking"})))
    receive(stream)
    stream.sendall(frame(sys.argv[2]))
    print(receive(stream))
