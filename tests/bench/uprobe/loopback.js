// SPDX-License-Identifier: Apache-2.0 OR MIT
// Two connections over loopback on one event loop; nanoseconds for a request and its answer, for each line.
"use strict";

const fs = require("fs");
const readline = require("readline");
const tls = require("tls");

const REQUESTS = 2000;
const message = Buffer.alloc(200, "x");
const files = { cert: fs.readFileSync(process.env.CERTIFICATE), key: fs.readFileSync(process.env.KEY) };
const server = tls.createServer(files, (socket) => socket.setNoDelay(true).on("data", (data) => socket.write(data)));

server.listen(0, "127.0.0.1", () => {
  const options = { port: server.address().port, host: "127.0.0.1", rejectUnauthorized: false };
  const client = tls.connect(options, () => {
    client.setNoDelay(true);
    readline.createInterface({ input: process.stdin }).on("line", () => measure(client));
  });
});

function measure(client) {
  const began = process.hrtime.bigint();
  let left = REQUESTS;
  const next = () => {
    if (left-- > 0) {
      client.write(message);
      return;
    }
    client.removeListener("data", next);
    console.log(Number(process.hrtime.bigint() - began) / REQUESTS);
  };
  client.on("data", next);
  next();
}
