// The scenario runner of the Node addon: `node runner.mjs FILES_OR_FOLDERS` prints one TAP line for each scenario and exits
// with 1 if any failed. With ISR_SCENARIO_DIRECTORY=1 in the environment every scenario gets a fresh directory, not only those
// that persist.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { checkFormat } from './scenario/format.mjs';
import { runScenario, StepError } from './scenario/run.mjs';

const withDirectory = process.env.ISR_SCENARIO_DIRECTORY === '1';

function filesOf(argument) {
  if (!statSync(argument).isDirectory()) return [argument];
  return readdirSync(argument)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => join(argument, name));
}

/** A description on one TAP line: `#` would begin a directive. */
const plain = (text) => String(text).replace(/\s+/g, ' ').replaceAll('#', '\\#');

function diagnostics(error) {
  const lines =
    error instanceof StepError ? [error.message, ...error.differences] : [`${error.name}: ${error.message}`];
  for (const line of lines.flatMap((text) => text.split('\n'))) console.log(`# ${line}`);
}

/** Whether the scenario is all right. */
async function report(number, file) {
  const label = `${number} - node ${basename(file)}:`;
  let name = 'not a scenario';
  try {
    const scenario = JSON.parse(readFileSync(file, 'utf8'));
    name = plain(scenario?.name ?? name);
    checkFormat(scenario);
    await runScenario(scenario, withDirectory);
    console.log(`ok ${label} ${name}`);
    return true;
  } catch (error) {
    console.log(`not ok ${label} ${name}`);
    diagnostics(error);
    return false;
  }
}

const args = process.argv.slice(2);
if (args.length === 0) {
  console.error('usage: node runner.mjs FILES_OR_FOLDERS');
  process.exit(2);
}
let files;
try {
  files = args.flatMap(filesOf);
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
let failed = 0;
for (const [index, file] of files.entries()) {
  if (!(await report(index + 1, file))) failed += 1;
}
console.log(`1..${files.length}`);
if (failed > 0) console.log(`# ${failed} of ${files.length} failed`);
process.exit(failed > 0 ? 1 : 0);
