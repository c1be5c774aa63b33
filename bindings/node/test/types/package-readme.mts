// The ten lines of bindings/node/README.md as they stand there.
import { createServer } from 'node:http';
import { Cache } from 'libisr';
import { handler } from 'libisr/http';

const cache = new Cache();
cache.page('/blog/[id]', { revalidate: 60 }, async (job) => {
  const post = await job.data(['post', job.params.id], () => db.post(job.params.id), { tags: [`post:${job.params.id}`] });
  return { body: `<h1>${post.title}</h1>`, headers: { 'content-type': 'text/html' } };
});
createServer(handler(cache)).listen(3000);
// After an edit: cache.revalidateTag('post:1');

declare const db: { post(id: string): Promise<{ title: string }> };
