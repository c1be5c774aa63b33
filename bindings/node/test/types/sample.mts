// Checked by tsc against the published types: what users write compiles, and what is wrong does not.
import { createServer } from 'node:http';
import { type Answer, Cache, type ErrorKind, IsrError, ManualClock, notFound, redirect, type RenderJob } from 'libisr';
import { handler } from 'libisr/http';

interface Post {
    title: string;
}

const clock = new ManualClock();
await using cache = new Cache({ maxBytes: 1 << 20, staleIfError: false, defaultRevalidate: 60, clock });

cache
    .page('/blog/[id]', { revalidate: 60, staticParams: [{ id: '1' }, { id: ['a'] }], timeout: false }, async (job) => {
        const id: string | string[] | undefined = job.params['id'];
        const post: Post = await job.data(['post', String(id)], async (load): Promise<Post> => {
            const more: number = await load.data('n', () => 1);
            return { title: `${load.key.join()} ${more}` };
        });
        const bytes: Buffer = await job.data('b', () => new Uint8Array(1), { raw: true });
        await fetch('http://localhost', { signal: job.signal });
        if (bytes.length === 0) return notFound('gone', { revalidate: 5 });
        return { body: post.title, headers: { 'content-type': 'text/html' }, tags: ['post'] };
    })
    .page('/old', () => redirect('/new', 308))
    .page('/bytes', (job: RenderJob) => Buffer.from(job.path));

const answer: Answer = await cache.get('/blog/1', { variant: { lang: 'de' } });
const there: Answer | undefined = cache.tryGet('/blog/1');
const body: Buffer = answer.body;
const { status, headers, contentLength } = answer.head({ method: 'GET', ifNoneMatch: undefined });
const first: readonly [string, string] | undefined = headers[0];
cache.revalidateTag(['post'], { soft: true, expire: 60 });
const matched: boolean = cache.revalidatePath('/blog/[id]', 'page');
const stored: boolean = cache.put('/old', 'x', { started: cache.started() });
const report = await cache.prerender({ onProgress: ({ done, total }) => void (done + total) });
const kind: ErrorKind | undefined = report.failed[0]?.error.kind;
try {
    await cache.regenerate('/blog/1', { onlyGenerated: true });
} catch (error) {
    if (error instanceof IsrError && error.code === 'ISR_TIMEOUT') throw error.cause;
}
createServer(handler(cache, { draft: (request) => cache.verifyDraft(request.headers.cookie) }));

// @ts-expect-error: an unknown option
new Cache({ maxBytez: 1 });
// @ts-expect-error: never is false, not true
cache.page('/x', { revalidate: true }, () => 'x');
// @ts-expect-error: a number is no page
cache.page('/x', () => 7);
// @ts-expect-error: an answer may be a promise
cache.get('/x').body;
// @ts-expect-error: bytes need raw
cache.data('k', () => new Uint8Array(1), { raw: false }).then((value: Buffer) => value);
// @ts-expect-error: an epoch is a bigint
cache.put('/x', 'x', { started: 1 });

export { body, contentLength, first, kind, matched, status, stored, there };
