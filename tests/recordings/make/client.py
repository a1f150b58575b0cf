# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Python requests as a client for the recordings. In: METHOD URL pairs. Out: the status and length of each answer."""

import sys

import requests

session = requests.Session()
for method, url in zip(sys.argv[1::2], sys.argv[2::2]):
    answer = session.request(method, url, data={"name": "value"} if method == "POST" else None)
    print(answer.status_code, len(answer.content))
