// The official TypeScript client on behalf of a person: the authorization code flow, whole. argv[2] is the SDK's major
// version, 1 or 2, and argv[3] the revision of the protocol. In the environment, URL is the endpoint; CLIENT_ID (and
// CLIENT_SECRET), or CLIENT_METADATA_URL, or neither (then it registers itself), say who it is; REDIRECT_URI may say
// where it listens. Whenever a person has to approve, it prints {"authorize": URL}. The way of talking:
// conversation.mjs.
import { converse, say } from './conversation.mjs';
import { Callback } from './callback.mjs';

const [major = '2', revision = '2025-11-25'] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } =
  major === '1'
    ? {
        ...(await import('@modelcontextprotocol/sdk/client/index.js')),
        ...(await import('@modelcontextprotocol/sdk/client/streamableHttp.js')),
        ...(await import('@modelcontextprotocol/sdk/client/auth.js')),
      }
    : await import('@modelcontextprotocol/client');
const { URL: url, CLIENT_ID, CLIENT_SECRET, CLIENT_METADATA_URL } = process.env;

const callback = await Callback.listen();
const kept = {};
if (CLIENT_ID) kept.client = { client_id: CLIENT_ID, ...(CLIENT_SECRET && { client_secret: CLIENT_SECRET }) };

const authProvider = {
  redirectUrl: callback.url,
  clientMetadataUrl: CLIENT_METADATA_URL,
  clientMetadata: {
    client_name: `Official TypeScript client ${major}`,
    redirect_uris: [callback.url],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: CLIENT_SECRET ? 'client_secret_basic' : 'none',
  },
  state: () => crypto.randomUUID(),
  clientInformation: () => kept.client,
  saveClientInformation: (client) => (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => (kept.tokens = tokens),
  saveCodeVerifier: (verifier) => (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (state) => (kept.discovery = state),
  discoveryState: () => kept.discovery,
  invalidateCredentials(what) {
    if (what === 'all' || what === 'tokens') delete kept.tokens;
    if ((what === 'all' || what === 'client') && !CLIENT_ID) delete kept.client;
    if (what === 'all' || what === 'discovery') delete kept.discovery;
  },
  redirectToAuthorization: (authorization) => {
    callback.expect(authorization.searchParams.get('state'));
    say({ authorize: String(authorization) });
  },
};

const mode = revision === '2026-07-28' ? { pin: revision } : 'legacy';
let client;
let transport;
/** Does it, and once more after a person has approved. */
async function authorized(step) {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const answer = await callback.answer();
    await transport.finishAuth(major === '1' ? answer.get('code') : answer);
    return await step();
  }
}

await converse({
  connect: () =>
    authorized(async () => {
      transport = new StreamableHTTPClientTransport(new globalThis.URL(url), { authProvider });
      client = new Client({ name: `official-typescript-${major}`, version: '0' }, { versionNegotiation: { mode } });
      await client.connect(transport);
      const { tools } = await client.listTools();
      return { tools: tools.map((tool) => tool.name) };
    }),
  call: (tool) => authorized(() => client.callTool(tool)),
  // The server then refuses it, as it refuses one that has expired, and the client asks for a new one.
  spoil: () => (kept.tokens = { ...kept.tokens, access_token: 'spoilt' }) && {},
  tokens: () => kept.tokens ?? {},
});
