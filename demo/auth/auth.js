// SPDX-License-Identifier: Apache-2.0 OR MIT
// The shop's `auth` service, in Node: answers after two milliseconds; ends with its standard input.

const http = require("node:http");

const server = http.createServer((request, response) => {
  setTimeout(() => {
    response.writeHead(200, { "Content-Type": "text/plain" });
    response.end("a customer");
  }, 2);
});
server.listen(Number(process.env.PORT), "127.0.0.1");

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
