// SPDX-License-Identifier: Apache-2.0 OR MIT
// The shop of the gRPC tests, with @grpc/grpc-js: `serve`, or `call PORT`. What each method does is told in ../README.md.

const assert = require("node:assert");
const { once } = require("node:events");
const readline = require("node:readline");
const grpc = require("@grpc/grpc-js");

const bytes = (value) => value;
const method = (name, requestStream, responseStream) => ({
  path: `/shop.v1.Shop/${name}`,
  requestStream,
  responseStream,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});
const SHOP = {
  Unary: method("Unary", false, false),
  Collect: method("Collect", true, false),
  Offer: method("Offer", false, true),
  Talk: method("Talk", true, true),
  Fail: method("Fail", false, false),
  Break: method("Break", false, true),
  Wait: method("Wait", false, false),
  Watch: method("Watch", false, true),
};
const ask = Buffer.from("ask");
const reply = Buffer.from("reply");

function serve() {
  const server = new grpc.Server();
  server.addService(SHOP, {
    Unary: (call, answer) => answer(null, reply),
    Collect: (call, answer) => call.on("data", () => {}).on("end", () => answer(null, reply)),
    Offer: (call) => {
      for (let i = 0; i < 4; i++) call.write(reply);
      call.end();
    },
    Talk: (call) => call.on("data", () => call.write(reply)).on("end", () => call.end()),
    Fail: (call, answer) => answer({ code: grpc.status.NOT_FOUND, details: "no such order" }),
    Break: (call) => {
      call.write(reply);
      call.write(reply);
      call.emit("error", { code: grpc.status.INTERNAL, details: "out of stock" });
    },
    Wait: () => {},
    Watch: (call) => call.write(reply),
  });
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    assert.ifError(error);
    console.log(port);
  });
  process.stdin.resume().on("end", () => process.exit());
}

function unary(client, name, options = {}) {
  return new Promise((resolve) => client[name](ask, options, (error) => resolve(error?.code ?? 0)));
}

async function drain(call) {
  let count = 0;
  call.on("data", () => count++);
  const ended = new Promise((resolve) => call.on("status", (status) => resolve(status.code)));
  call.on("error", () => {});
  return [await ended, count];
}

async function callAll(client) {
  assert.equal(await unary(client, "Unary"), 0);
  assert.equal(await unary(client, "Unary"), 0);
  await Promise.all(Array.from({ length: 20 }, () => unary(client, "Unary")));
  await new Promise((resolve) => {
    const call = client.Collect(resolve);
    for (let i = 0; i < 3; i++) call.write(ask);
    call.end();
  });
  assert.deepEqual(await drain(client.Offer(ask)), [0, 4]);
  const talk = client.Talk();
  const talked = drain(talk);
  for (let i = 0; i < 3; i++) talk.write(ask);
  talk.end();
  assert.deepEqual(await talked, [0, 3]);
  assert.equal(await unary(client, "Fail"), grpc.status.NOT_FOUND);
  assert.equal((await drain(client.Break(ask)))[0], grpc.status.INTERNAL);
  assert.equal(await unary(client, "Wait", { deadline: Date.now() + 200 }), grpc.status.DEADLINE_EXCEEDED);
  const watch = client.Watch(ask);
  const watched = drain(watch);
  await once(watch, "data");
  watch.cancel();
  assert.equal((await watched)[0], grpc.status.CANCELLED);
}

async function main() {
  if (process.argv[2] === "serve") return serve();
  const Shop = grpc.makeGenericClientConstructor(SHOP, "Shop");
  const client = new Shop(`127.0.0.1:${process.argv[3]}`, grpc.credentials.createInsecure());
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    await callAll(client);
    console.log("done");
  }
  client.close();
}

main();
