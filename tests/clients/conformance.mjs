// The official conformance suite. "run" is its part for authorization servers: it takes {issuer, resource, client_id,
// client_secret, port}; the callback is http://127.0.0.1:PORT/callback. It gives the list of its checks. "server" is
// its part for MCP servers: it takes {url, revision}, and gives the checks by scenario and which ones the revision
// requires.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parse } from 'yaml';
import { converse, watch } from './conversation.mjs';

const here = import.meta.dirname;
const program = join(here, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
const results = join(here, 'results');

/** Runs it, and gives what it printed. */
async function suite(...args) {
  const command = [program, ...args, '--output-dir', results];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [shown, complaints] = [watch(child.stdout), watch(child.stderr)];
  const [code] = await once(child, 'close');
  return { code, text: shown.text + complaints.text };
}

/** What it found: the name of each folder of results, and the checks in it. */
function found() {
  const files = readdirSync(results, { recursive: true }).filter((file) => file.endsWith('checks.json'));
  return files.map((file) => [dirname(file), JSON.parse(readFileSync(join(results, file)))]);
}

await converse({
  async run({ issuer, resource, client_id, client_secret, port }) {
    const args = ['authorization', '--url', issuer, '--client-id', client_id, '--port', String(port)];
    if (client_secret) args.push('--client-secret', client_secret);
    if (resource) args.push('--resource', resource);
    const { code, text } = await suite(...args);
    return { code, checks: found().flatMap(([, checks]) => checks), text };
  },
  async server({ url, revision }) {
    const { code, text } = await suite('server', '--url', url, '--requirements', revision);
    const { server: required } = parse(readFileSync(join(dirname(program), `../requirements/${revision}.yaml`), 'utf8'));
    // server-SCENARIO-2026-01-02T03-04-05-678Z
    const scenario = (folder) => basename(folder).replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
    const scenarios = Object.fromEntries(found().map(([folder, checks]) => [scenario(folder), checks]));
    return { code, required, scenarios, text };
  },
});
