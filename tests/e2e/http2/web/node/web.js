// SPDX-License-Identifier: Apache-2.0 OR MIT
// HTTP/2 by Node itself: `serve`, or `call PORT`. What is asked is listed in ../../web.rs.

const http2 = require("node:http2");
const { once } = require("node:events");
const readline = require("node:readline");

function serve() {
  const server = http2.createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const path = headers[":path"];
    if (path === "/busy") return stream.respond({ ":status": 503 }, { endStream: true });
    if (path === "/refused") return stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    if (path === "/held") return stream.respond({ ":status": 200 });
    if (path === "/hinted") stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
    if (path === "/page") {
      stream.pushStream({ ":path": "/style.css" }, (error, pushed) => {
        pushed.respond({ ":status": 200 });
        pushed.end("body {}");
        stream.respond({ ":status": 200 });
        stream.end("page");
      });
      return;
    }
    if (path === "/trailers") {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ checksum: "1" }));
      stream.end("body");
      return;
    }
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  process.stdin.resume().on("end", () => process.exit());
}

async function ask(session, headers, body) {
  const stream = session.request(headers);
  stream.on("error", () => {});
  stream.end(body);
  stream.resume();
  await once(stream, "close").catch(() => {});
}

async function call(port) {
  // With the first order, when somebody watches: the kernel then knows from the first byte that frames follow one another.
  let session;
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    session ??= http2.connect(`http://127.0.0.1:${port}`).on("stream", (pushed) => pushed.resume());
    // More than a turn's budget: only where frames are followed from the beginning nothing of it is missed.
    await ask(session, { ":path": "/echo", ":method": "POST" }, "a".repeat(100000));
    for (const path of ["/plain?q=1", "/busy", "/refused", "/hinted", "/page", "/trailers"]) {
      await ask(session, { ":path": path });
    }
    const held = session.request({ ":path": "/held" });
    held.on("error", () => {});
    await once(held, "response");
    held.close(http2.constants.NGHTTP2_CANCEL);
    await once(held, "close");
    console.log("done");
  }
  session?.close();
}

if (process.argv[2] === "serve") serve();
else call(process.argv[3]);
