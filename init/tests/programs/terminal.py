"""Has init run a shell on a terminal, and talks to it through the master that
comes back."""

import fcntl
import json
import os
import select
import socket
import struct
import sys
import termios


def frame(message):
    body = json.dumps(message).encode()
    return struct.pack("<I", len(body)) + body


stream = socket.socket(socket.AF_UNIX)
stream.settimeout(30)
stream.connect(sys.argv[1])
stream.sendall(frame({"version": 1, "program": "terminal"}))
pending, master = b"", None


def receive():
    global pending, master
    while True:
        if len(pending) >= 4:
            (length,) = struct.unpack("<I", pending[:4])
            if len(pending) >= 4 + length:
                body, pending = pending[4 : 4 + length], pending[4 + length :]
                return json.loads(body)
        data, descriptors, _, _ = socket.recv_fds(stream, 65536, 4)
        if not data:
            raise SystemExit("hung up")
        if descriptors:
            (master,) = descriptors
        pending += data


receive()
argv = ["bash", "--norc", "--noprofile", "-i"]
request = {"op": "exec", "argv": argv, "tty": {"rows": 33, "columns": 99}}
stream.sendall(frame(request))
print(receive())
assert os.fstat(master).st_rdev, "the master is a device"
seen = ""


def until(text):
    global seen
    while text not in seen:
        ready, _, _ = select.select([master], [], [], 30)
        if not ready:
            raise SystemExit(f"no {text!r} in {seen!r}")
        seen += os.read(master, 65536).decode(errors="replace")


def type_in(line, answer):
    global seen
    seen = ""
    os.write(master, line.encode() + b"\n")
    until(answer)
    print(seen)


type_in("tty", "/dev/pts/")
type_in("echo size $(stty size)", "size 33 99")
type_in("sleep 1000 & jobs", "Running")
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 111, 0, 0))
type_in("echo resized $(stty size)", "resized 44 111")
type_in("kill %1; wait; echo gone", "gone\r\n")
os.write(master, b"exit 5\n")
answer = receive()
print("exited", answer["code"])
