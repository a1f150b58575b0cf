// SPDX-License-Identifier: Apache-2.0 OR MIT
// The bare pod: a server on port 8080 that asks the store before it answers.
"use strict";
const http = require("node:http");

http
  .createServer((request, response) => {
    http.get({ host: "store.shop", port: 8080, path: "/of" + request.url }, (stored) => {
      stored.resume();
      stored.on("end", () => response.end("lone"));
    }).on("error", (error) => {
      response.statusCode = 502;
      response.end(String(error));
    });
  })
  .listen(8080);
