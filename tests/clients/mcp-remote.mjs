// mcp-remote as a desktop client starts it: a local server on standard input and output. The environment is that of
// authorize.mjs, and argv[2] the revision of the protocol that the server may speak.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { converse, watch } from './conversation.mjs';
import { freePort } from './callback.mjs';

const { URL: url, CLIENT_ID, CLIENT_SECRET, CLIENT_METADATA_URL, REDIRECT_URI } = process.env;
const here = import.meta.dirname;

// Its own choice of a port follows from the URL alone, so two at once would meet.
const redirect = new globalThis.URL(REDIRECT_URI ?? 'http://localhost/oauth/callback');
const args = [join(here, 'node_modules/mcp-remote/dist/proxy.js'), url, redirect.port || String(await freePort())];
args.push('--host', redirect.hostname, '--callback-path', redirect.pathname, '--auth-timeout', '120');
if (process.argv[2] === '2026-07-28') args.push('--protocol', 'auto');
if (CLIENT_ID) {
  const client = { client_id: CLIENT_ID, ...(CLIENT_SECRET && { client_secret: CLIENT_SECRET }) };
  args.push('--static-oauth-client-info', JSON.stringify(client));
}
if (CLIENT_METADATA_URL) args.push('--client-metadata-url', CLIENT_METADATA_URL);
// `true` is the browser that it opens: the test opens another one.
const env = { ...process.env, BROWSER: 'true', MCP_REMOTE_CONFIG_DIR: join(here, 'state') };
const child = spawn(process.execPath, args, { env });
const shown = watch(child.stderr);

let last = 0;
const waiting = new Map();
createInterface({ input: child.stdout }).on('line', (line) => {
  const { id, result, error } = JSON.parse(line);
  const { resolve, reject } = waiting.get(id) ?? {};
  if (error) reject?.(new Error(error.message));
  else resolve?.(result);
});
child.on('exit', () => waiting.forEach(({ reject }) => reject(new Error(`mcp-remote ended:\n${shown.text}`))));
const send = (message) => child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
function request(method, params) {
  const id = (last += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    send({ id, method, params });
  });
}

await converse({
  async connect() {
    const clientInfo = { name: 'a-desktop-client', version: '0' };
    await request('initialize', { protocolVersion: '2025-06-18', capabilities: {}, clientInfo });
    send({ method: 'notifications/initialized' });
    const { tools } = await request('tools/list', {});
    return { tools: tools.map((tool) => tool.name) };
  },
  call: (tool) => request('tools/call', tool),
});
