// The official TypeScript client, 2.x, at the revision in argv[3]. Else as typescript-v1.mjs.
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const { URL: url, ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env;
const mode = process.argv[3] === '2026-07-28' ? { pin: '2026-07-28' } : 'legacy';
const authProvider = new ClientCredentialsProvider({
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  expectedIssuer: ISSUER,
});
const transport = new StreamableHTTPClientTransport(new globalThis.URL(url), { authProvider });
const client = new Client({ name: 'official-typescript-2', version: '0' }, { versionNegotiation: { mode } });
await client.connect(transport);
const { tools } = await client.listTools();
const results = [];
for (const call of JSON.parse(process.argv[2])) results.push(await client.callTool(call));
const can = client.getServerCapabilities();
const prompts = can?.prompts ? (await client.listPrompts()).prompts : [];
const resources = can?.resources ? (await client.listResources()).resources : [];
const names = (list) => list.map((item) => item.name);
const protocol = client.getNegotiatedProtocolVersion();
await client.close();
console.log(JSON.stringify({ protocol, tools: names(tools), prompts: names(prompts), resources: names(resources), results }));
