// SPDX-License-Identifier: Apache-2.0 OR MIT
// Node's fetch as a client for the recordings. In: URLs. Out: the status of each, one after the other.
'use strict';
(async () => {
  for (const url of process.argv.slice(2)) {
    const response = await fetch(url);
    await response.arrayBuffer();
    console.log(response.status);
  }
})();
