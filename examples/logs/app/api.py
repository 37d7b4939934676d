"""Says something on both of its streams."""

import sys
import time

print("serves on port 8000")
print("no cache was found", file=sys.stderr)
time.sleep(1_000_000)
