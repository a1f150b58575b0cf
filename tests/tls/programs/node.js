// SPDX-License-Identifier: Apache-2.0 OR MIT
// Node's own HTTPS on both ends: its OpenSSL is a part of it, and its event loop carries the records.
"use strict";

const fs = require("fs");
const https = require("https");
const readline = require("readline");

const [sessions, requests] = process.argv.slice(2).map(Number);
const files = { cert: fs.readFileSync(process.env.CERTIFICATE), key: fs.readFileSync(process.env.KEY) };
const server = https.createServer(files, (request, response) => {
  response.writeHead(200, { "Content-Length": request.url.length });
  response.end(request.url);
});

function get(agent, path) {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port: server.address().port, path, agent };
    https.get(options, (response) => {
      let body = "";
      response.on("data", (data) => (body += data));
      response.on("end", () => (body === path ? resolve(path) : reject(new Error(`${path}: ${body}`))));
    }).on("error", reject);
  });
}

async function talk(round, number) {
  const agent = new https.Agent({ keepAlive: number % 2 === 0, rejectUnauthorized: false, maxSockets: 1 });
  const paths = [];
  for (let index = 0; index < requests; index++) {
    paths.push(await get(agent, `/node/${round}/${number}/${index}`));
  }
  agent.destroy();
  return paths;
}

server.listen(0, "127.0.0.1", 512, () => {
  console.log(`ready ${server.address().port}`);
  let round = 0;
  let done = Promise.resolve();
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", () => {
    const own = round++;
    done = done.then(async () => {
      const all = await Promise.all(Array.from({ length: sessions }, (_, number) => talk(own, number)));
      console.log(`${all.flat().join("\n")}\n`);
    });
  });
  lines.on("close", () => done.then(() => process.exit(0)));
});
