// A page of 10 KB for every path, by node:http: `node server.mjs limit|lru-cache|libisr`. Prints its port.

import { createServer } from 'node:http';
import { Cache } from 'libisr';
import { handler } from 'libisr/http';
import { LRUCache } from 'lru-cache';

const BODY = Buffer.alloc(10_000, 'x');
const HEADERS = { 'content-type': 'text/html; charset=utf-8' };

function ofMap(map) {
  for (let n = 0; n < 100; n++) map.set(`/blog/${n}`, Buffer.from(BODY));
  return (request, response) => {
    const body = map.get(request.url);
    if (body === undefined) return response.writeHead(404).end();
    response.writeHead(200, { ...HEADERS, 'content-length': body.length }).end(body);
  };
}

function ofLibisr() {
  const cache = new Cache();
  cache.page('/blog/[id]', () => ({ body: BODY, headers: HEADERS }));
  return handler(cache);
}

const listeners = {
  limit: () => ofMap(new Map()),
  'lru-cache': () => ofMap(new LRUCache({ max: 1000, ttl: 3600_000 })),
  libisr: ofLibisr,
};
const server = createServer({ keepAliveTimeout: 60_000 }, listeners[process.argv[2]]());
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
