#!/usr/bin/python3 -BESs
# SPDX-License-Identifier: GPL-2.0
"""Use a CPU for 60 ms, sleep for 2 ms, and so on until killed.

60 ms are three times as long as a worker is given to start on its CPU.
"""

import time

BUSY = 0.06
SLEEP = 0.002

while True:
    end = time.monotonic() + BUSY
    while time.monotonic() < end:
        pass
    time.sleep(SLEEP)
