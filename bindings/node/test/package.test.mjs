// The package: both module systems, the runner's strictness, and the rules of the sources.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

const require = createRequire(import.meta.url);

test('require and import give the same things', async () => {
  for (const name of ['libisr', 'libisr/http']) {
    const cjs = require(name);
    const esm = await import(name);
    const exported = Object.keys(esm).filter((key) => !['default', 'module.exports', '__esModule'].includes(key));
    assert.deepEqual(exported.sort(), Object.keys(cjs).sort());
    for (const key of exported) assert.equal(esm[key], cjs[key]);
  }
  assert.equal(require('libisr/package.json').name, 'libisr');
});

test('the version is that of the workspace', () => {
  const cargo = readFileSync(new URL('../../../Cargo.toml', import.meta.url), 'utf8');
  const [, version] = /\[workspace\.package\]\s*version = "([^"]+)"/.exec(cargo);
  assert.equal(require('libisr/package.json').version, version);
});

test('the programs of the documentation are those that are compiled', () => {
  const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
  const samples = {
    'ten-lines.mts': '../../../docs/node.md',
    'time-travel.mts': '../../../docs/node.md',
    'package-readme.mts': '../README.md',
  };
  for (const [sample, page] of Object.entries(samples)) {
    const source = read(`types/${sample}`);
    const blocks = [...read(page).matchAll(/^```js\n(.*?)^```/gms)].map(([, block]) => block);
    assert.ok(blocks.some((block) => source.includes(block)), `${sample} has no program of ${page}`);
  }
});

test('what is packed is what is used', () => {
  const packed = spawnSync('npm', ['pack', '--dry-run', '--json'], {
    cwd: join(import.meta.dirname, '..'),
    encoding: 'utf8',
  });
  const parsed = JSON.parse(packed.stdout);
  const [{ files }] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  const names = files.map(({ path }) => path);
  for (const name of [
    'dist/index.js',
    'dist/index.mjs',
    'dist/index.d.ts',
    'dist/index.d.mts',
    'dist/http.js',
    'isr.node',
    'README.md',
  ]) {
    assert.ok(names.includes(name), `${name} is packed`);
  }
  assert.ok(!names.some((name) => name.startsWith('test/') || name.startsWith('src/')));
});

test('every function that the addon exports catches panics', () => {
  const folder = new URL('../src/', import.meta.url);
  let exports = 0;
  for (const file of readdirSync(folder)) {
    const lines = readFileSync(new URL(file, folder), 'utf8').split('\n');
    lines.forEach((line, i) => {
      if (!line.trim().startsWith('#[napi')) return;
      // The first line after it that is no attribute or comment says what is exported.
      const what = lines.slice(i + 1).find((next) => !/^\s*(#|\/\/)/.test(next));
      if (!/\bfn\b/.test(what)) return;
      exports += 1;
      assert.match(line, /catch_unwind/, `${file}: ${what.trim()}`);
    });
  }
  assert.ok(exports > 40, `only ${exports} exports were found`);
});

/** Runs the runner on one scenario. */
function run(scenario, name = 'case.json') {
  const folder = mkdtempSync(join(tmpdir(), 'isr-'));
  try {
    writeFileSync(join(folder, name), typeof scenario === 'string' ? scenario : JSON.stringify(scenario));
    const ran = spawnSync(process.execPath, [join(import.meta.dirname, 'runner.mjs'), folder], { encoding: 'utf8' });
    return { status: ran.status, lines: ran.stdout.trim().split('\n'), stderr: ran.stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const base = { name: 'a name', routes: [{ pattern: '/p' }], steps: [] };
const get = { get: '/p', expect: { cache: 'miss' } };

test('the runner prints TAP', () => {
  assert.deepEqual(run({ ...base, steps: [get] }), {
    status: 0,
    lines: ['ok 1 - node case.json: a name', '1..1'],
    stderr: '',
  });
  const failed = run({ ...base, steps: [get, get] });
  assert.equal(failed.status, 1);
  assert.deepEqual(failed.lines, [
    'not ok 1 - node case.json: a name',
    '# step 2 of 2: {"get":"/p","expect":{"cache":"miss"}}',
    '# cache: expected "miss", got "hit"',
    '1..1',
    '# 1 of 1 failed',
  ]);
  assert.deepEqual(run({ ...base, cache: { persist: true }, steps: [get] }), {
    status: 0,
    lines: ['ok 1 - node case.json: a name', '1..1'],
    stderr: '',
  });
});

test('the runner fails on what it does not know, and on what does not come true', () => {
  const broken = {
    'a key of the scenario': { ...base, extra: 1 },
    'a key named __proto__': `{"name":"n","routes":[],"steps":[],"__proto__":{}}`,
    'no steps': { name: 'n', routes: [] },
    'a cache option': { ...base, cache: { max_thread: 1 } },
    'a route option': { ...base, routes: [{ pattern: '/p', revalidat: 1 }] },
    'an element of renders': { ...base, renders: { '/p': [{ bdy: 'x' }] } },
    'an element of data': { ...base, data: { k: [{ val: 'x' }] } },
    'a read': { ...base, renders: { '/p': [{ reads: [{ key: 'k' }] }] } },
    'an action': { ...base, steps: [{ fetch: '/p' }] },
    'a key beside': { ...base, steps: [{ get: '/p', drft: true }] },
    'an expectation': { ...base, steps: [{ get: '/p', expect: { cach: 'miss' } }] },
    'an expectation of another action': { ...base, steps: [{ inspect: '/p', expect: { cache: 'hit' } }] },
    'an expectation of a start': { ...base, steps: [{ start: 'A', ...get }] },
    'a join of nothing': { ...base, steps: [{ join: 'A' }] },
    'an unexpected error': { ...base, steps: [{ get: '/nowhere' }] },
    'an error that does not come': { ...base, steps: [{ get: '/p', expect: { error: 'busy' } }] },
    'another body': { ...base, steps: [{ get: '/p', expect: { body: 'x' } }] },
    'another header': { ...base, steps: [{ get: '/p', expect: { headers: { age: '5' } } }] },
    'a header that is there': { ...base, steps: [{ get: '/p', expect: { headers: { age: null } } }] },
    'another count': { ...base, steps: [get, { counts: { '/p': 2 } }] },
    'a pending that was answered': { ...base, steps: [{ start: 'A', get: '/p' }, { pending: 'A' }] },
    'no JSON': '{',
    'no object': '[]',
  };
  for (const [what, scenario] of Object.entries(broken)) {
    const { status, lines, stderr } = run(scenario);
    assert.equal(status, 1, what);
    assert.match(lines[0], /^not ok 1 - node case\.json: /, what);
    assert.match(lines[1], /^# /, what);
    assert.equal(stderr, '', what);
  }
});

test('names that look like numbers or __proto__ are names', () => {
  const scenario = `{
    "name": "n", "routes": [{"pattern": "/p", "query": ["__proto__", "10", "9", "a"]}],
    "renders": {
      "/p {\\"10\\":\\"x\\",\\"9\\":\\"y\\",\\"__proto__\\":\\"z\\"}": [{"body": "all"}],
      "__proto__": [{"body": "never"}]
    },
    "data": {"__proto__": [{"value": "v"}]},
    "steps": [
      {"get": "/p?9=y&10=x&__proto__=z", "expect": {"body": "all"}},
      {"get": "/p", "variant": {"9": "y", "10": "x", "__proto__": "z"}, "expect": {"cache": "hit", "body": "all"}},
      {"data_get": "__proto__", "expect": {"value": "v"}},
      {"counts": {"__proto__": 0, "/p {\\"10\\":\\"x\\",\\"9\\":\\"y\\",\\"__proto__\\":\\"z\\"}": 1}},
      {"data_counts": {"__proto__": 1}}
    ]
  }`;
  assert.deepEqual(run(scenario).lines, ['ok 1 - node case.json: n', '1..1']);
});
