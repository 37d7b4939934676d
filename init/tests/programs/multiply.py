"""Multiplies as far as it is let, and at most to 259 processes; none of them
hears TERM."""

import os
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
refused = False


def multiply(depth):
    global refused
    for _ in range(6):
        try:
            if os.fork() == 0:
                if depth < 3:
                    multiply(depth + 1)
                while True:
                    signal.pause()
        except OSError:
            if not refused:
                print("was refused", flush=True)
            refused = True


multiply(1)
while True:
    signal.pause()
