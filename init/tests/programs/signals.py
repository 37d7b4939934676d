#!/usr/bin/python3
"""Says every signal that it hears, and ends with 7 at TERM or QUIT.

  --child    with a child in its group, which says what it hears too
  --orphan   leaves an orphan behind that ends at once, and ends when that is reaped
  --fds      says which descriptors it has
"""

import os
import signal
import sys
import time

EVERY = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, EVERY)


def say(text):
    os.write(1, (text + "\n").encode())


def listen(who):
    while True:
        heard = signal.sigwaitinfo(EVERY).si_signo
        say(f"{who} heard {heard}")
        if heard in (signal.SIGTERM, signal.SIGQUIT):
            os._exit(7)


if "--orphan" in sys.argv:
    ours, theirs = os.pipe()
    if os.fork() == 0:
        orphan = os.fork()
        if orphan == 0:
            os._exit(0)
        os.write(theirs, str(orphan).encode())
        os._exit(0)
    os.wait()
    orphan = int(os.read(ours, 20))
    limit = time.monotonic() + 30
    while os.path.exists(f"/proc/{orphan}") and time.monotonic() < limit:
        pass
    os._exit(0)
if "--fds" in sys.argv:
    say(str(sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))))
    os._exit(0)
ready, up = os.pipe()
if "--child" in sys.argv and os.fork() == 0:
    os.write(up, b".")
    listen("child")
if "--child" in sys.argv:
    os.read(ready, 1)
place = "leads its session" if os.getsid(0) == os.getpid() else "is in a session"
group = "and its group" if os.getpgrp() == os.getpid() else "and in a group"
say(f"up: {place} {group}, {len(signal.pthread_sigmask(signal.SIG_BLOCK, []))} blocked")
listen("main")
