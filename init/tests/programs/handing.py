"""Hands a FIFO over as `holdall-log` and a listening socket as
`holdall-control` (`-` leaves one out), then becomes what follows."""

import os
import socket
import sys

log, control, *command = sys.argv[1:]
descriptors, names = [], []
if log != "-":
    descriptors.append(os.open(log, os.O_RDWR))
    names.append("holdall-log")
if control != "-":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(control)
    listener.listen(16)
    descriptors.append(listener.detach())
    names.append("holdall-control")
high = [os.dup2(fd, 100 + at) for at, fd in enumerate(descriptors)]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at)
os.closerange(3 + len(high), 200)
os.environ["LISTEN_FDS"] = str(len(high))
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.execvp(command[0], command)
