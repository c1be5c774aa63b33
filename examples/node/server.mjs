// The example site, served by node:http, its pages kept by libisr.
//
//     node server.mjs --port 8000 --db build/site.sqlite --templates examples/site/templates --directory build/cache
//
// What the site shows is in pages.mjs. Here is how libisr keeps it: routes with their lifetimes and tags, one handler for
// all pages, and `revalidateTag` after an edit.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Cache, notFound, redirect } from 'libisr';
import { send } from 'libisr/http';
import { Pages } from './pages.mjs';

const HTML = { 'content-type': 'text/html; charset=utf-8' };
const PRIVATE = { 'cache-control': 'private, no-store' };
const EDITABLE = { post: '/blog/', synset: '/synset/' };
const MAX_FORM_BYTES = 64 * 1024;

/** Ends with a word instead of a stack. */
function give(status, text) {
  console.error(text);
  process.exit(status);
}

function commandLine() {
  const text = { type: 'string' };
  const options = { port: { ...text, default: '0' }, db: text, templates: text };
  // Where the pages are kept, shared by all who open it (else in memory); the build; what gets a line for each render.
  Object.assign(options, { directory: text, deployment: { ...text, default: '' }, 'render-log': text });
  try {
    const { values } = parseArgs({ options });
    if (values.db && values.templates && /^\d+$/.test(values.port)) return values;
  } catch (error) {
    console.error(error.message);
  }
  const more = '[--port N] [--directory DIR] [--deployment NAME] [--render-log FILE]';
  return give(2, `usage: node server.mjs --db PATH --templates DIR ${more}`);
}

function openPages() {
  try {
    return new Pages(args.db, args.templates);
  } catch (error) {
    return give(1, `server.mjs: ${error.message} (--db ${args.db} --templates ${args.templates})`);
  }
}

const args = commandLine();
const token = process.env.SITE_ADMIN_TOKEN || randomBytes(16).toString('base64url');
const pages = openPages();
const nowhere = pages.message('Not found', 'There is no page at this address.');
const cache = new Cache({ directory: args.directory, deployment: args.deployment });
const renderLog = args['render-log'] && openSync(args['render-log'], 'a', 0o600);

function count(what) {
  if (renderLog) writeSync(renderLog, `${what}\n`);
}

let originRenders = 0; // the demo compares it with what the cache says
let failing = false;
let slowMs = 0;

/** `cache.page` for functions that give `{ html, tags }`, a result, or null where there is nothing to show. */
function page(pattern, options, make) {
  cache.page(pattern, options, async (job) => {
    originRenders += 1;
    count(job.path);
    if (slowMs > 0) await sleep(slowMs, undefined, { signal: job.signal });
    if (failing) throw new Error('renders fail, as /admin/fail?on=1 asked');
    const made = await make(job);
    if (!made) return notFound(nowhere, { headers: HTML, revalidate: 60 });
    if (made.html === undefined) return made;
    return { body: made.html, headers: HTML, tags: made.tags };
  });
}

function loadCounts() {
  count('counts');
  return pages.counts();
}
page('/', { revalidate: 60 }, async (job) => {
  // A data entry: counted once for all pages that show it, and gone with its tag.
  const counts = await job.data('counts', loadCounts, { tags: ['posts'], revalidate: 60 });
  return pages.home(counts);
});
page('/word/[lemma]', { revalidate: 3600 }, (job) => pages.word(job.params.lemma));
page('/synset/[id]', { revalidate: 3600 }, (job) => pages.synset(job.params.id));
page('/blog', { revalidate: 60 }, () => pages.blog());
// The posts that are known now are rendered before anybody asks, later ones when somebody does.
const posts = pages.postIds().map((id) => ({ id }));
page('/blog/[id]', { revalidate: 300, staticParams: posts }, (job) => pages.post(job.params.id));
// Closed: whatever is not listed is answered with 404, and never rendered.
const abouts = pages.aboutPages().map((name) => ({ page: name }));
page('/about/[page]', { dynamicParams: false, staticParams: abouts }, (job) => pages.about(job.params.page));
// A redirect is a page, too.
page('/blog/latest', { revalidate: 60, tags: ['posts'] }, () => redirect(pages.latest()));
page('/moment', { revalidate: 2 }, () => pages.moment(Date.now() / 1000));

/** What is not kept in the cache. */
const OTHERS = /^\/(admin\/|(stats|search)(\?|$))/;

const server = createServer((request, response) => {
  try {
    // A hit is sent at once, without a promise.
    respond(request, response)?.catch((error) => broken(error, request, response));
  } catch (error) {
    broken(error, request, response);
  }
});

function broken(error, request, response) {
  console.error(`${request.method} ${request.url}: ${error.message}`);
  response.statusMessage = ''; // a head that could not be written has left its reason phrase
  if (response.headersSent) response.destroy();
  else message(response, 500, 'That did not work', 'Please try again in a moment.');
}

function respond(request, response) {
  if (OTHERS.test(request.url)) return other(request, response);
  if (isRead(request)) return cached(request, response);
  return message(response, 405, 'Not allowed', 'Pages can be read only.');
}

function isRead({ method }) {
  return method === 'GET' || method === 'HEAD';
}

async function other(request, response) {
  const [pathname, query = ''] = request.url.split('?', 2);
  const searchParams = new URLSearchParams(query);
  if (pathname.startsWith('/admin/')) return admin(request, response, pathname, searchParams);
  if (!isRead(request)) return message(response, 405, 'Not allowed', 'Pages can be read only.');
  if (pathname === '/stats') {
    const { queued, running } = cache.activity();
    const stats = { origin_renders: originRenders, pending: queued + running, cache: cache.stats() };
    return reply(response, 200, { 'content-type': 'application/json' }, JSON.stringify(stats));
  }
  const word = (searchParams.get('q') ?? '').trim().toLowerCase().replaceAll(' ', '_');
  return reply(response, 303, { location: word ? `/word/${encodeURIComponent(word)}` : '/' });
}

/** Every page of the site. `get` gives a hit at once, and a promise where a render must be waited for. */
function cached(request, response) {
  const answer = cache.get(request.url);
  if (!(answer instanceof Promise)) return deliver(answer, request, response);
  return answer.then(
    (there) => deliver(there, request, response),
    (error) => refuse(error, request, response),
  );
}

function deliver(answer, request, response) {
  if (answer.cache === 'bypass' && answer.status === 404) {
    // A closed route has no body of its own.
    return reply(response, 404, { ...Object.fromEntries(answer.head().headers), ...HTML }, nowhere);
  }
  return send(answer, request, response);
}

function refuse(error, request, response) {
  if (error.kind === 'no_route') return message(response, 404, 'Not found', 'There is no page at this address.');
  if (error.kind === 'render') console.error(`${request.url}: ${error.message}`);
  const status = { invalid_path: 400, timeout: 504, busy: 503, closed: 503 }[error.kind] ?? 500;
  return message(response, status, 'That did not work', 'Please try again in a moment.');
}

/** Edits, and the switches of the demo. Never cached. */
async function admin(request, response, pathname, query) {
  const [, , kind, ...rest] = pathname.split('/');
  const id = rest.join('/');
  const editable = Object.hasOwn(EDITABLE, kind);
  if (request.method === 'GET' || request.method === 'HEAD') {
    const form = editable && pages.editForm(kind, id);
    if (!form) return message(response, 404, 'Not found', 'There is nothing to edit here.');
    return reply(response, 200, { ...HTML, ...PRIVATE }, form);
  }
  if (request.method !== 'POST') return message(response, 405, 'Not allowed', 'Send a form.');
  const form = await readForm(request);
  if (!form) return message(response, 413, 'Too large', `A form may have ${MAX_FORM_BYTES} bytes.`);
  if (!isAdmin(request, form)) {
    return message(response, 403, 'Refused', 'This needs the admin token, sent from this site.');
  }
  if (pathname === '/admin/fail') {
    failing = query.get('on') === '1';
    return response.writeHead(204).end();
  }
  if (pathname === '/admin/slow') {
    slowMs = Number(query.get('ms')) || 0;
    return response.writeHead(204).end();
  }
  const text = (form.get('text') ?? '').replaceAll('\r\n', '\n').trim();
  if (!editable || !pages.save(kind, id, text)) {
    return message(response, 404, 'Not found', 'There is nothing to edit here.');
  }
  // Whatever shows this post or synset is rendered anew for the next who asks.
  cache.revalidateTag(`${kind}:${id}`);
  return reply(response, 303, { location: EDITABLE[kind] + id, ...PRIVATE });
}

/** The token says who; a browser's Origin says that the form is ours and not another site's. */
function isAdmin(request, form) {
  const { origin, host } = request.headers;
  const given = Buffer.from(form.get('token') ?? '');
  const wanted = Buffer.from(token);
  const ours = origin === undefined || origin === `http://${host}`;
  return ours && given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** The fields of a form, or null if it is too large. */
async function readForm(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) return null;
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}

function message(response, status, title, text) {
  reply(response, status, { ...HTML, ...PRIVATE }, pages.message(title, text));
}

/** An answer of our own. Node leaves the body of a HEAD out. */
function reply(response, status, headers, body = '') {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
}

/** No new connections; renders may finish and be sent; then the loop has nothing left to do. */
async function stop() {
  server.close(() => pages.close());
  await cache.close({ timeout: 5 });
  setTimeout(() => server.closeAllConnections(), 1000).unref();
}
server.once('error', (error) => give(1, `server.mjs: ${error.message}`));
process.once('SIGTERM', stop);
process.once('SIGINT', stop);

server.listen({ port: Number(args.port), host: '127.0.0.1', backlog: 1024 }, async () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
  console.log(`admin token: ${token}`);
  const report = await cache.prerender();
  for (const { path, error } of report.failed) console.error(`${path}: ${error.message}`);
  console.log(`prerendered ${report.rendered} pages`);
});
