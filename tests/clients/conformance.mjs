// The official conformance suite's part for authorization servers. Its one step "run" takes {issuer, resource,
// client_id, client_secret, port}; the callback is http://127.0.0.1:PORT/callback. It gives the list of its checks.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { converse, watch } from './conversation.mjs';

const here = import.meta.dirname;
const program = join(here, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');
const results = join(here, 'results');

await converse({
  async run({ issuer, resource, client_id, client_secret, port }) {
    const args = ['authorization', '--url', issuer, '--client-id', client_id, '--port', String(port)];
    if (client_secret) args.push('--client-secret', client_secret);
    if (resource) args.push('--resource', resource);
    const child = spawn(process.execPath, [program, ...args, '--output-dir', results], { stdio: ['ignore', 'pipe', 'pipe'] });
    const [shown, complaints] = [watch(child.stdout), watch(child.stderr)];
    const [code] = await once(child, 'close');
    const files = readdirSync(results, { recursive: true }).filter((file) => file.endsWith('checks.json'));
    const checks = files.flatMap((file) => JSON.parse(readFileSync(join(results, file))));
    return { code, checks, text: shown.text + complaints.text };
  },
});
