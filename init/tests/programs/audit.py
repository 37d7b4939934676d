"""Says in what state it was started."""

import os
import resource
import signal

# Python ignores these two by itself; that init resets them is seen with the
# blocked ones and with those that Python leaves alone.
own = {signal.SIGPIPE, signal.SIGXFSZ}
masks = dict(
    line.split(":", 1) for line in open("/proc/self/status") if line.startswith("Sig")
)
ignored = int(masks["SigIgn"], 16)
for number in own:
    ignored &= ~(1 << (number - 1))
print("blocked", masks["SigBlk"].strip())
print("ignored", "%016x" % ignored)
names = []
for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
    try:
        target = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    if target.endswith("/fd"):
        continue
    names.append(f"{fd}={target.split(':')[0]}")
print("descriptors", *names)
print(
    "leads its session and group:",
    os.getsid(0) == os.getpid(),
    os.getpgid(0) == os.getpid(),
)
mask = os.umask(0o22)
print("umask %03o" % mask)
print("directory", os.getcwd())
print("soft locks limit is set:", resource.getrlimit(10)[0] != resource.RLIM_INFINITY)
print("oom", open("/proc/self/oom_score_adj").read().strip())
for name in ["HOLDALL_SERVICE", "NOTIFY_SOCKET", "LISTEN_FDS"]:
    print(f"{name}={os.environ.get(name)}")
print("audit ends", flush=True)
