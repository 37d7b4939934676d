"""Says in what state it was started."""

import os
import resource
import signal

# Python ignores these two by itself; that init resets them is seen with the
# blocked ones and with those that Python leaves alone.
own = {signal.SIGPIPE, signal.SIGXFSZ}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
ignored = int(status["SigIgn"], 16)
for number in own:
    ignored &= ~(1 << (number - 1))
print("blocked", status["SigBlk"].strip())
print("pending", status["SigPnd"].strip(), status["ShdPnd"].strip())
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
try:
    os.close(os.open("/dev/tty", os.O_RDWR))
    print("has a terminal")
except OSError:
    print("has no terminal")
mask = os.umask(0o22)
print("umask %03o" % mask)
print("directory", os.getcwd())
print("soft locks limit is set:", resource.getrlimit(10)[0] != resource.RLIM_INFINITY)
print("oom", open("/proc/self/oom_score_adj").read().strip())
print("policy", os.sched_getscheduler(0))
limits = [line for line in open("/proc/self/limits") if not line.startswith("Max file locks")]
for line in limits[1:]:
    print("limit", " ".join(line.split()))
print("nice", os.getpriority(os.PRIO_PROCESS, 0))
for name in sorted(os.environ):
    if name not in ("HOLDALL_TEST", "LC_CTYPE"):
        print(f"variable {name}={os.environ[name]}")
for name in ["NOTIFY_SOCKET", "LISTEN_FDS"]:
    print(f"{name}={os.environ.get(name)}")
print("audit ends", flush=True)
