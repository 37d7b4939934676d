"""Starts what follows on a terminal of its own, types into it, and passes its
screen and exit code on. As `leader` it leads the terminal's session, as in a
container; as `shell` it is a job in front of a shell's session."""

import os
import pty
import select
import signal
import sys

role, *command = sys.argv[1:]
child, master = pty.fork()
if child == 0:
    if role == "shell":
        job = os.fork()
        if job != 0:
            # The shell: puts the job in front, and waits for it.
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            _, status = os.waitpid(job, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(command[0], command)
seen = ""


def until(text):
    global seen
    while text not in seen:
        ready, _, _ = select.select([master], [], [], 30)
        if not ready:
            raise SystemExit(f"no {text!r} in {seen!r}")
        try:
            seen += os.read(master, 65536).decode(errors="replace")
        except OSError:
            raise SystemExit(f"no {text!r} before the end of {seen!r}")


os.write(master, b"sleep 1000 & jobs\n")
until("Running")
os.write(master, b"kill %1; wait; echo it is $((40+2))\n")
until("it is 42")
os.write(master, b"exit 6\n")
while True:
    try:
        piece = os.read(master, 65536)
    except OSError:
        break
    if not piece:
        break
    seen += piece.decode(errors="replace")
print(seen, flush=True)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
