// SPDX-License-Identifier: Apache-2.0 OR MIT
// Node's http server for the recordings. In: a port or a socket's path, and the port of a service to call. Out: what
// each path says.
'use strict';
const http = require('node:http');
const crypto = require('node:crypto');
const [listenAt, upstream] = process.argv.slice(2);

const server = http.createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/chunked') {
    response.write('one ');
    setTimeout(() => response.end('two'), 20);
  } else if (path === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const number of [1, 2, 3]) {
      response.write(`data: ${number}\n\n`);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    response.end();
  } else if (path === '/large') {
    response.end(Buffer.alloc(100_000, 'x'));
  } else if (path === '/calls') {
    const answer = await fetch(`http://127.0.0.1:${upstream}/from-node`);
    response.end(await answer.text());
  } else if (path === '/early') {
    // The response ends before the request does.
    response.writeHead(413, { 'content-length': 9 });
    response.end('too large');
    request.resume();
  } else {
    response.setHeader('content-length', 5);
    response.end('hello');
  }
});
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n');
  socket.write(`Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  // A text frame, which looks like a request to whoever does not know that this is HTTP no more.
  socket.write(Buffer.from([0x81, 16, ...Buffer.from('GET / HTTP/1.1\r\n')]));
  socket.on('data', () => socket.end());
});
server.listen(/^\d+$/.test(listenAt) ? { port: Number(listenAt), host: '127.0.0.1' } : listenAt);
