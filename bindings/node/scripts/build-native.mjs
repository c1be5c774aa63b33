// Builds the addon with cargo and puts it beside package.json as isr.node.
// `--debug` builds without optimisation, which is faster.
import { spawnSync } from 'node:child_process';
import { copyFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const unknown = process.argv.slice(2).filter((argument) => argument !== '--debug');
if (unknown.length > 0) {
  console.error(`unknown argument ${unknown[0]}; known is --debug`);
  process.exit(2);
}
const release = !process.argv.includes('--debug');

const cargo = ['build', '-p', 'libisr-node', '--message-format=json-render-diagnostics'];
if (release) cargo.push('--release');
const built = spawnSync('cargo', cargo, {
  cwd: here,
  stdio: ['inherit', 'pipe', 'inherit'],
  encoding: 'utf8',
  maxBuffer: 1 << 28,
});
if (built.error) {
  console.error(`cargo cannot be run: ${built.error.message}`);
  process.exit(1);
}
if (built.status !== 0) process.exit(built.status ?? 1);

// Cargo says where it put the library; its folder and name depend on the system.
const library = built.stdout
  .split('\n')
  .filter((line) => line.startsWith('{'))
  .map((line) => JSON.parse(line))
  .filter((message) => message.reason === 'compiler-artifact' && message.target.name === 'libisr_node')
  .flatMap((message) => message.filenames)
  .find((name) => /\.(so|dylib|dll)$/.test(name));
if (library === undefined) {
  console.error('cargo built no library named libisr_node');
  process.exit(1);
}
// By way of a rename: a process that has the old file loaded keeps it.
const target = join(here, 'isr.node');
copyFileSync(library, `${target}.new`);
renameSync(`${target}.new`, target);
