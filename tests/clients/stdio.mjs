// The official TypeScript client of a local server on standard input and output, which is `portcullis stdio`: the one of
// the SDK 1.x or 2.x (argv[2]), at the revision in argv[3]. In the environment, URL is the endpoint, PORTCULLIS the
// program, and CLIENT_ID (and CLIENT_SECRET) say which client it is; without, it registers itself. The way of talking:
// conversation.mjs.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { converse, watch } from './conversation.mjs';

const [major = '2', revision = '2025-11-25'] = process.argv.slice(2);
const { Client, StdioClientTransport } =
  major === '1'
    ? {
        ...(await import('@modelcontextprotocol/sdk/client/index.js')),
        ...(await import('@modelcontextprotocol/sdk/client/stdio.js')),
      }
    : { ...(await import('@modelcontextprotocol/client')), ...(await import('@modelcontextprotocol/client/stdio')) };
const { URL: url, PORTCULLIS, CLIENT_ID, CLIENT_SECRET } = process.env;

const state = join(import.meta.dirname, 'state');
mkdirSync(state, { recursive: true });
const args = [url];
if (CLIENT_ID) args.push('--client-id', CLIENT_ID);
if (CLIENT_SECRET) {
  const file = join(state, 'client-secret');
  writeFileSync(file, CLIENT_SECRET, { mode: 0o600 });
  args.push('--client-secret-file', file);
}
// `true` is the browser that it opens: the test opens another one.
const env = { PATH: process.env.PATH, HOME: state, XDG_STATE_HOME: state, PORTCULLIS_STORE: 'file', BROWSER: 'true' };
const mode = revision === '2026-07-28' ? { pin: revision } : 'legacy';
let client;
let shown;

async function signIn() {
  const child = spawn(PORTCULLIS, ['login', '--no-browser', ...args], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const login = watch(child.stderr);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`portcullis login ended with ${code}:\n${login.text}`);
}

/** The tools that the command line of the MCP Inspector lists, with a process of its own. */
async function inspect() {
  const program = join(
    import.meta.dirname,
    'node_modules/@modelcontextprotocol/inspector/clients/cli/build/index.js',
  );
  const options = ['--format', 'json', '--method', 'tools/list', '-e', `XDG_STATE_HOME=${state}`, '--'];
  // It does nothing at all when it is called by a path with a symbolic link.
  const child = spawn(process.execPath, [realpathSync(program), ...options, PORTCULLIS, 'stdio', ...args], {
    env: { ...env, MCP_STORAGE_DIR: join(state, 'storage'), MCP_INSPECTOR_SECRET_STORE: 'file' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const complaints = watch(child.stderr);
  let printed = '';
  child.stdout.on('data', (chunk) => (printed += chunk));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the Inspector ended with ${code}:\n${complaints.text}`);
  return { tools: JSON.parse(printed).result.tools.map((tool) => tool.name) };
}

await converse({
  async connect() {
    // At this revision, the SDK first asks another process that it starts, whose standard error nothing can read.
    if (revision === '2026-07-28') await signIn();
    const transport = new StdioClientTransport({ command: PORTCULLIS, args: ['stdio', ...args], env, stderr: 'pipe' });
    shown = watch(transport.stderr);
    client = new Client({ name: `an-agent-without-oauth-${major}`, version: '0' }, { versionNegotiation: { mode } });
    await client.connect(transport);
    const { tools } = await client.listTools();
    return { tools: tools.map((tool) => tool.name) };
  },
  call: (tool) => client.callTool(tool),
  // It is then taken for one that has expired.
  spoil() {
    const folder = join(state, 'portcullis');
    const file = join(folder, readdirSync(folder).find((name) => name.endsWith('.json')));
    const stored = JSON.parse(readFileSync(file));
    stored.tokens.expires_at = '2020-01-01T00:00:00Z';
    writeFileSync(file, JSON.stringify(stored));
  },
  inspect,
  close: () => client.close(),
  // What it wrote on standard error.
  logs: () => shown.text,
});
