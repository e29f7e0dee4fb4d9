// An OpenID provider (npm oidc-provider) on a free loopback port, for one client that must use PKCE. The environment's
// SETTINGS are JSON: {client: {client_id, client_secret}, users: {NAME: {password, groups, ...claims}}}. Prints
// {"listening": ISSUER}. Steps: "rotate" replaces the signing key, "users" the users; "back-channel" has logouts told to a
// URL. A refresh token counts once. The way of talking: conversation.mjs.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import Provider, { interactionPolicy } from 'oidc-provider';
import { converse, say } from './conversation.mjs';

const { client, users } = JSON.parse(process.env.SETTINGS);

const escape = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const page = (problem, name = '') => `<!doctype html><html lang="en"><title>Sign in at the provider</title>
<h1>Sign in at the provider</h1><p role="alert">${escape(problem)}</p><form method="post">
<label>User name <input name="name" value="${escape(name)}"></label>
<label>Password <input name="password" type="password"></label><button>Sign in</button></form></html>`;

// Nobody is asked for consent: that is Portcullis' part. See also loadExistingGrant.
const policy = interactionPolicy.base();
policy.get('consent').checks.remove('native_client_prompt');

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: randomUUID() };
}

function claims(name) {
  const { password, ...claims } = users[name];
  return { sub: name, preferred_username: name, ...claims };
}

/** Rotation is a new provider in the old one's place; what it keeps is in memory that they share. */
function provider(issuer, key) {
  const made = new Provider(issuer, {
    clients: [
      {
        ...client,
        application_type: 'native', // so that loopback callbacks match with any port
        redirect_uris: ['http://127.0.0.1/callback', ...(client.redirect_uris ?? [])],
        grant_types: ['authorization_code', 'refresh_token'],
        ...(backChannel && { backchannel_logout_uri: backChannel }),
      },
    ],
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false, // the claims are in the ID token, as most providers have it
    cookies: { keys: [randomUUID()] },
    jwks: { keys: [key] },
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    rotateRefreshToken: true,
    // Its own refuses loopback, where logouts are told to.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    interactions: { policy, url: (_, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: (_, name) => users[name] && { accountId: name, claims: () => claims(name) },
    async loadExistingGrant(ctx) {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid profile email offline_access');
      await grant.save();
      return grant;
    },
  });
  made.on('backchannel.error', (_, error) => console.error(error));
  return made;
}

async function signIn(request, response) {
  // With prompt=consent. The person agrees.
  const { prompt, session } = await current.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    const grant = new current.Grant({ clientId: client.client_id, accountId: session.accountId });
    grant.addOIDCScope('openid profile email offline_access');
    const consent = { grantId: await grant.save() };
    return current.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
  }
  const html = (text) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(text);
  if (request.method !== 'POST') return html(page(''));
  let body = '';
  for await (const chunk of request) body += chunk;
  const { name, password } = Object.fromEntries(new URLSearchParams(body));
  if (users[name]?.password !== password) return html(page('That is not the password.', name));
  await current.interactionFinished(request, response, { login: { accountId: name } });
}

let backChannel;
const server = createServer((request, response) => {
  const done = request.url.startsWith('/sign-in/') ? signIn(request, response) : current.callback()(request, response);
  Promise.resolve(done).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
let key = signingKey();
let current = provider(issuer, key);
say({ listening: issuer });
await converse({
  rotate: () => void (current = provider(issuer, (key = signingKey()))),
  'back-channel': (url) => {
    backChannel = url;
    current = provider(issuer, key);
  },
  users: (replacement) => {
    for (const name of Object.keys(users)) delete users[name];
    Object.assign(users, replacement);
  },
});
