#!/usr/bin/python3
"""A program that writes down what it was given and what ended it.

Into $DIR/seen/NAME: its arguments, folder, masks, ids, descriptors and some of
its environment at each start, and every signal. Into $DIR/seen/order: who was
told to end, in turn. Used under the real supervisord and under ours alike.

  --exit CODE        end with it, by itself
  --after SECONDS    so long after the start
  --first            only the first time; the second it stays
  --deaf             hear signals and go on
  --child            with a child of its own, which writes down signals too
  --together         and end after that
  --socket           write down what stdin is
"""

import os
import signal
import socket
import stat
import sys

HEARD = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
FOLDER = os.path.join(os.environ["DIR"], "seen")
NAME = sys.argv[1]
OPTIONS = sys.argv[2:]


def note(text, name=NAME):
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(os.path.join(FOLDER, name), flags, 0o666)
    os.write(file, (text + "\n").encode())
    os.close(file)


def option(name):
    return OPTIONS[OPTIONS.index(name) + 1] if name in OPTIONS else None


signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
path = os.path.join(FOLDER, NAME)
again = os.path.exists(path)
mask = os.umask(0)
descriptors = [fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}")]
shown = {
    name: value
    for name, value in sorted(os.environ.items())
    if name.startswith("W_") or name in ("SUPERVISOR_ENABLED", "SUPERVISOR_PROCESS_NAME", "SUPERVISOR_GROUP_NAME")
}
groups = sorted({os.getgid(), *os.getgroups()})
given = [f"start {OPTIONS} in {os.getcwd()} umask {mask:03o} ids {os.getuid()}:{os.getgid()}:{groups}"]
given.append(f"  descriptors {sorted(descriptors)} leads {os.getpgrp() == os.getpid()} {shown}")
if "--socket" in OPTIONS:
    listener = socket.socket(fileno=os.dup(0))
    listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    where = listener.getsockname()
    given.append(f"  stdin {listener.family.name} listens {listening} at {where}")
    if isinstance(where, str):
        file = os.stat(where)
        given.append(f"  mode {stat.S_IMODE(file.st_mode):04o} owner {file.st_uid}:{file.st_gid}")

# At once, since two of a pool write into one file.
note("\n".join(given))
print(f"{NAME} says that it runs", flush=True)
print(f"{NAME} complains", file=sys.stderr, flush=True)

who = NAME
child = os.fork() if "--child" in OPTIONS else None
if child == 0:
    who = f"{NAME}-child"
if option("--exit") and not ("--first" in OPTIONS and again):
    signal.sigtimedwait([], float(option("--after") or 0))
    os._exit(int(option("--exit")))
while True:
    # Nobody is waited for longer than any test takes.
    info = signal.sigtimedwait(HEARD, 120)
    heard = signal.Signals(info.si_signo).name if info else "nothing"
    note(f"{heard}", who)
    if who == NAME:
        note(NAME, "order")
    if child and "--together" in OPTIONS:
        os.waitpid(child, 0)
    if "--deaf" not in OPTIONS or not info:
        os._exit(0)
