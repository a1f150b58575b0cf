// SPDX-License-Identifier: Apache-2.0 OR MIT
// The CronJob: asks the store for the path it is given, and ends.
"use strict";
require("node:http")
  .get({ host: "store.shop", port: 8080, path: process.argv[2] }, (answer) => answer.resume())
  .on("error", (error) => {
    console.error(error);
    process.exitCode = 1;
  });
