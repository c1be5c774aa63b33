// The example server in Node four times: a cluster that shares a port, and a directory. A worker that dies is replaced.

import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';

const WORKERS = 4;

// Otherwise the primary accepts, and a connection that it hands to a worker which is being killed stays open for ever.
cluster.schedulingPolicy = cluster.SCHED_NONE;
cluster.setupPrimary({
  exec: fileURLToPath(new URL('../../../examples/node/server.mjs', import.meta.url)),
  args: process.argv.slice(2),
});
let stopping = false;
cluster.on('exit', () => {
  if (!stopping) cluster.fork();
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    stopping = true;
    for (const worker of Object.values(cluster.workers)) {
      worker.process.kill(signal);
      worker.disconnect(); // the channel would keep it alive
    }
  });
}
for (let i = 0; i < WORKERS; i += 1) cluster.fork();
