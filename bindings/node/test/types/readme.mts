// The ten lines of the project's README.md.
import { Cache } from 'libisr';

const cache = new Cache();
cache.page('/blog/[id]', { revalidate: 60, tags: ['blog'] }, async (job) => {
  return `<h1>Post ${job.params.id}</h1>`;
});

console.log((await cache.get('/blog/1')).cache); // miss: rendered now
console.log((await cache.get('/blog/1')).body.toString()); // hit: from memory
cache.revalidateTag('blog'); // the next request waits for a new page
