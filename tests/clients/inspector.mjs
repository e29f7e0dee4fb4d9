// The command line of the MCP Inspector, once per step; it keeps its tokens in a folder of its own. The environment is
// that of authorize.mjs, and argv[2] the revision of the protocol.
import { spawn } from 'node:child_process';
import { mkdirSync, realpathSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { converse, watch } from './conversation.mjs';
import { freePort } from './callback.mjs';

const { URL: url, CLIENT_ID, CLIENT_SECRET, CLIENT_METADATA_URL, REDIRECT_URI } = process.env;
const state = join(import.meta.dirname, 'state');
mkdirSync(state, { recursive: true });
// It does nothing at all when it is called by a path with a symbolic link.
const program = realpathSync(
  join(import.meta.dirname, 'node_modules/@modelcontextprotocol/inspector/clients/cli/build/index.js'),
);
const common = ['--server-url', url, '--transport', 'http', '--format', 'json'];
common.push('--protocol-era', process.argv[2] === '2026-07-28' ? 'modern' : 'legacy');
// Of the port 0 it would listen anywhere, but send the 0 to the server.
common.push('--callback-url', REDIRECT_URI ?? `http://127.0.0.1:${await freePort()}/callback`);
if (CLIENT_ID) common.push('--client-id', CLIENT_ID);
if (CLIENT_SECRET) common.push('--client-secret', CLIENT_SECRET);
if (CLIENT_METADATA_URL) common.push('--client-metadata-url', CLIENT_METADATA_URL);
const env = {
  ...process.env,
  HOME: state,
  MCP_STORAGE_DIR: join(state, 'storage'),
  MCP_INSPECTOR_SECRET_STORE: 'file',
  // Without a terminal it asks nobody to sign in, unless it may open a browser: `true` here, the test opens another.
  MCP_AUTO_OPEN_ENABLED: 'true',
  BROWSER: 'true',
};

async function run(...args) {
  const child = spawn(process.execPath, [program, ...common, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const shown = watch(child.stderr);
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`it ended with ${code}:\n${shown.text}`);
  return JSON.parse(printed).result;
}

await converse({
  async connect() {
    const { tools } = await run('--method', 'tools/list');
    return { tools: tools.map((tool) => tool.name) };
  },
  call: (tool) =>
    run('--method', 'tools/call', '--tool-name', tool.name, '--tool-args-json', JSON.stringify(tool.arguments ?? {})),
});
