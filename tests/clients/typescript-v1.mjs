// The official TypeScript client, 1.x: signs in by client_credentials, lists the tools, calls those of the plan in argv[2],
// a JSON array of {name, arguments}, and lists prompts and resources, where the server has them. Prints what it saw as JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const { URL: url, ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env;
const authProvider = new ClientCredentialsProvider({
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  expectedIssuer: ISSUER,
});
const transport = new StreamableHTTPClientTransport(new globalThis.URL(url), { authProvider });
const client = new Client({ name: 'official-typescript-1', version: '0' });
await client.connect(transport);
const { tools } = await client.listTools();
const results = [];
for (const call of JSON.parse(process.argv[2])) results.push(await client.callTool(call));
const can = client.getServerCapabilities();
const prompts = can?.prompts ? (await client.listPrompts()).prompts : [];
const resources = can?.resources ? (await client.listResources()).resources : [];
const names = (list) => list.map((item) => item.name);
const protocol = transport.protocolVersion;
await client.close();
console.log(JSON.stringify({ protocol, tools: names(tools), prompts: names(prompts), resources: names(resources), results }));
