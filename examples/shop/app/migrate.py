"""Prepares the shop's data: safe to run at every start."""

import redis

VERSION = 1

found = int(redis.call("GET", "shop:version") or 0)
if found < VERSION:
    redis.call("SETNX", "shop:visits", 0)
    redis.call("SET", "shop:version", VERSION)
    print(f"migrate: data brought from version {found} to {VERSION}")
else:
    print(f"migrate: data is at version {found}, nothing to do")
