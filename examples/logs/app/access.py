"""Writes what a busy web server would: 4,000 lines at once."""

import time

for number in range(4000):
    print(f'10.0.0.{number % 250} "GET /page/{number} HTTP/1.1" 200 512')
time.sleep(1_000_000)
