"""Takes three seconds, and says so if another of its kind is about."""

import fcntl
import time

with open("/tmp/slow.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(3)
print("took its time, alone", flush=True)
