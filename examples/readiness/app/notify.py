"""Says by sd_notify that it is ready, with words for `/init ps`."""

import os
import socket
import time

time.sleep(0.5)
address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1\nSTATUS=serves nobody yet", address)
time.sleep(1_000_000)
