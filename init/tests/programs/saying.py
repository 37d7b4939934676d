"""Says of itself what its arguments tell it to, one step each:

  READY=1            a message; "|" in it ends a line
  child:READY=1      the same, by a child that ends at once and is reaped later
  reaped:READY=1     the same, by a child that is reaped at once
  grandchild:…       the same, by a child of a child that is gone, in a session of its own
  barrier            waits until all that was said before is heeded
  store:NAME         stores a pipe, into which "kept" was written, under this name
  stores:COUNT       sends so many descriptors at once
  given              prints what was handed over, and what is in it
  fd:NUMBER:TEXT     writes to a descriptor
  close:NUMBER       closes a descriptor
  print:TEXT         prints
  env:NAME           prints a variable
  until:PATH         goes on once somebody has opened this FIFO
  main               starts a child that goes on with the next steps as the main process,
                     and ends
  alive:MILLIS       says WATCHDOG=1 so often until it is told to end
  flood              says things without end
  stay               until it is told to end
"""

import os
import signal
import socket
import sys


def address():
    name = os.environ["NOTIFY_SOCKET"]
    return "\0" + name[1:] if name.startswith("@") else name


def say(text, descriptors=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        message = [text.replace("|", "\n").encode()]
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(fd.to_bytes(4, sys.byteorder) for fd in descriptors))]
        sender.sendmsg(message, rights if descriptors else [], 0, address())


def tell(text):
    print(text, flush=True)


def step(word):
    what, _, rest = word.partition(":")
    if what == "child":
        if os.fork() == 0:
            say(rest)
            os._exit(0)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    elif what == "reaped":
        if os.fork() == 0:
            say(rest)
            os._exit(0)
        os.wait()
    elif what == "grandchild":
        if os.fork() == 0:
            if os.fork() == 0:
                os.setsid()
                say(rest)
                signal.pause()
            os._exit(0)
        os.wait()
    elif what == "barrier":
        read, write = os.pipe()
        say("BARRIER=1", [write])
        os.close(write)
        os.read(read, 1)
        tell("heeded")
    elif what == "store":
        read, write = os.pipe()
        os.write(write, b"kept")
        say(f"FDSTORE=1|FDNAME={rest}", [read])
        # It must not hang up while it is stored.
        keep.append(write)
        say(f"FDSTORE=1|FDNAME={rest}-end", [write])
    elif what == "stores":
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(rest))]
        say("FDSTORE=1|FDNAME=many", fds)
    elif what == "given":
        count = int(os.environ.get("LISTEN_FDS", "0"))
        tell(f"given {count}: {os.environ.get('LISTEN_FDNAMES', '-')}")
        for fd in range(3, 3 + count):
            if os.environ["LISTEN_FDNAMES"].split(":")[fd - 3] == "pipe":
                tell(f"in it: {os.read(fd, 9).decode()}")
    elif what == "fd":
        number, _, text = rest.partition(":")
        os.write(int(number), text.replace("|", "\n").encode())
    elif what == "close":
        os.close(int(rest))
    elif what == "print":
        tell(rest)
    elif what == "env":
        tell(f"{rest} is {os.environ.get(rest, 'not there')}")
    elif what == "until":
        with open(rest, encoding="utf-8") as fifo:
            fifo.read()
    elif what == "main":
        if pid := os.fork():
            say(f"MAINPID={pid}")
            step("barrier")
            os._exit(0)
        tell(f"main is {os.getpid()}")
    elif what == "alive":
        signal.signal(signal.SIGALRM, lambda *_: say("WATCHDOG=1"))
        signal.setitimer(signal.ITIMER_REAL, int(rest) / 1000, int(rest) / 1000)
    elif what == "flood":
        while True:
            say("STATUS=flood|WATCHDOG=1")
    elif what == "stay":
        while True:
            signal.pause()
    else:
        say(word)


keep = []
for argument in sys.argv[1:]:
    step(argument)
