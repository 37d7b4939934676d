"""Makes 5,000 orphans that are dead already, then waits."""

import os
import time

for _ in range(100):
    if os.fork() == 0:
        for _ in range(50):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.wait()
print("5000 orphans made", flush=True)
while True:
    time.sleep(1000)
