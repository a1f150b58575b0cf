# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The Job: asks the store for the path it is given, and ends."""

import sys
import urllib.request

with urllib.request.urlopen("http://store.shop:8080" + sys.argv[1], timeout=20) as answer:
    sys.exit(answer.read() != b"stored")
