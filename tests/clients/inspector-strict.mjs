// What `--strict` of the MCP Inspector's command line finds in the schemas of an endpoint's tools, at the revision in
// argv[3]. The environment is that of typescript-v1.mjs. Prints {code, tools, findings, said}.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const { URL: url, ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env;
const form = { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET };
const answer = await fetch(`${ISSUER}/token`, { method: 'POST', body: new URLSearchParams(form) });
const { access_token: token } = await answer.json();

const modules = join(import.meta.dirname, 'node_modules');
// It does nothing at all when it is called by a path with a symbolic link.
const program = realpathSync(join(modules, '@modelcontextprotocol/inspector/clients/cli/build/index.js'));
const args = [program, '--server-url', url, '--transport', 'http', '--header', `Authorization: Bearer ${token}`];
args.push('--protocol-era', process.argv[3] === '2026-07-28' ? 'modern' : 'legacy');
args.push('--method', 'tools/list', '--strict', '--format', 'json');
const state = join(import.meta.dirname, 'state');
mkdirSync(state);
const env = { ...process.env, HOME: state, MCP_STORAGE_DIR: join(state, 'storage'), MCP_INSPECTOR_SECRET_STORE: 'file' };
// It needs Node 22.
const child = spawn(join(modules, '.bin/node'), args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
const [printed, said, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
const { result, schemaFindings: findings = [] } = printed ? JSON.parse(printed) : {};
console.log(JSON.stringify({ code, tools: result?.tools.map((tool) => tool.name) ?? [], findings, said }));
