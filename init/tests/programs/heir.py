"""Makes a process with the number that is written in a file, and says whether
it is alive whenever USR1 comes."""

import os
import signal
import time

folder = os.environ["HOLDALL_TEST"]
number = int(open(f"{folder}/number").read())
child = 0
while child != number:
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(number - 1))
    child = os.fork()
    if child == 0:
        while True:
            time.sleep(1000)


def say(*_):
    alive = os.waitpid(child, os.WNOHANG)[0] == 0
    print("the heir is", "alive" if alive else "dead", flush=True)


signal.signal(signal.SIGUSR1, say)
print("the heir has number", child, flush=True)
while True:
    time.sleep(1000)
