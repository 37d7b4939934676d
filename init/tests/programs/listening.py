"""Says which sockets it was given."""

import os
import socket
import time

print("pid is own:", os.environ["LISTEN_PID"] == str(os.getpid()))
print("names", os.environ["LISTEN_FDNAMES"])
blocking = []
for fd in range(3, 3 + int(os.environ["LISTEN_FDS"])):
    listener = socket.socket(fileno=os.dup(fd))
    name = listener.getsockname()
    print(fd, *(name[:2] if isinstance(name, tuple) else [name]))
    print(fd, "is", listener.type.name, os.readlink(f"/proc/self/fd/{fd}"))
    blocking.append(os.get_blocking(fd))
print("blocking:", *blocking, flush=True)
time.sleep(1000)
