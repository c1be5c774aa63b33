// Checked by tsc against the published types: what users write compiles, and what is wrong does not.
import { createServer } from 'node:http';
import {
    type Answer,
    Cache,
    type ErrorKind,
    type Failure,
    IsrError,
    ManualClock,
    notFound,
    type PathParams,
    redirect,
    type RenderJob,
} from 'libisr';
import { handler } from 'libisr/http';

interface Post {
    title: string;
}

const clock = new ManualClock();
await using cache = new Cache({ maxBytes: 1 << 20, staleIfError: false, defaultRevalidate: 60, clock });

cache
    .page('/blog/[id]', { revalidate: 60, staticParams: [{ id: '1' }, { id: ['a'] }], timeout: false }, async (job) => {
        const id: string = job.params.id;
        const post: Post = await job.data(['post', id], async (load): Promise<Post> => {
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

const kept = new Cache({
    directory: '/var/cache/site',
    maxDiskBytes: 1 << 30,
    durable: true,
    name: 'site',
    onTrouble: async (error) => console.error(error.kind === 'store', error.code),
});
await kept.close();
// @ts-expect-error: it is true or false.
new Cache({ directory: '/var/cache/site', durable: 1 });

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

const again: Answer = await cache.regenerate('/blog/1', { variant: { lang: 'de' }, onlyGenerated: false });
const maybe: Answer | undefined = await cache.regenerate('/blog/1', { onlyGenerated: true });
// @ts-expect-error: with onlyGenerated there may be none
const none: Answer = await cache.regenerate('/blog/1', { onlyGenerated: true });

cache
    .page('/docs/[lang]/(group)/[...rest]', ({ params }) => `${params.lang.trim()} ${params.rest.join()}`)
    .page('/shop/[[...rest]]', ({ params }) => params.rest.join())
    .page('/any/[id]', anyPage)
    .page('/array', () => new ArrayBuffer(1))
    // @ts-expect-error: the pattern names no such parameter
    .page('/none/[id]', ({ params }) => params.other);
function anyPage({ params }: RenderJob): string {
    const value: string | string[] | undefined = params['id'];
    return String(value);
}
const patterns: string[] = ['/a/[id]'];
for (const pattern of patterns) cache.page(pattern, ({ params }) => String(params['id']));
const params: PathParams<'/docs/[lang]/[...rest]'> = { lang: 'de', rest: [] };

createServer(
    handler(cache, {
        variant: async () => ({ lang: 'de' }),
        onError: async (_error, _request, response, status) => void response.writeHead(status).end(),
    }),
);
const onFailure = ({ path, error }: Failure): void => console.error(path, error.kind, error.cause);
new Cache({ onFailure });

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

export { again, body, contentLength, first, kind, matched, maybe, none, params, status, stored, there };
