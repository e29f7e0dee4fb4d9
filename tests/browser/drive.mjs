// A person with a browser: Chromium without a window, named by CHROMIUM in the environment; HOST_RULES say where names
// are that exist for the test only. The steps are below, what is
// looked for on a page being what people and screen readers find: labels, and the names of buttons and links. The way of
// talking: conversation.mjs.
import { chromium } from 'playwright-core';
import { audit } from './audit.mjs';
import { converse } from './conversation.mjs';

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--host-resolver-rules=${process.env.HOST_RULES ?? ''}`],
});
let context;
let page;
let last; // the last answer to a navigation
let requested; // the URLs of navigation requests since the page was opened
let redirects;
let complaints;
let visitors; // the visitor's options

/** Somebody else, without cookies. `options` are those of Playwright's contexts: viewport, colorScheme, … */
async function visitor(options) {
  await context?.close();
  visitors = options ?? {};
  context = await browser.newContext({ javaScriptEnabled: true, ignoreHTTPSErrors: true, ...options });
  context.setDefaultTimeout(20_000);
  page = await context.newPage();
  [last, requested, redirects, complaints] = [undefined, [], [], []];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) requested.push(request.url());
  });
  page.on('response', (response) => {
    if (!response.request().isNavigationRequest() || response.frame() !== page.mainFrame()) return;
    last = response;
    const location = response.headers().location;
    if (location) redirects.push(location);
  });
}

/**
 * Waits for a navigation request to a URL that matches. Unlike `arrive`, it does not wait for the response: a client may
 * exit as soon as it has received the request, and Chromium then shows an error page.
 */
async function sent(pattern) {
  const matches = (url) => new RegExp(pattern).test(url);
  const earlier = requested.find(matches);
  if (earlier) return earlier;
  const request = await page.waitForRequest((request) => request.isNavigationRequest() && matches(request.url()));
  return request.url();
}

async function look() {
  return {
    url: page.url(),
    title: await page.title(),
    text: await page.innerText('body'),
    status: last?.status(),
    headers: await last?.allHeaders(),
    redirects,
    complaints,
  };
}

/** What to do on the page. Where it fails, it says which page there was instead. */
const on = (step) => async (value) => {
  try {
    return await step(value);
  } catch (error) {
    throw new Error(`${error.message}\nat ${page.url()}:\n${await page.innerText('body').catch(() => '')}`);
  }
};

await visitor();
await converse({
  visitor,
  look,
  open: (url) => {
    requested = [];
    return page.goto(url).then(look);
  },
  fill: on(({ label, value }) => page.getByLabel(label).and(page.locator('input, textarea')).fill(value)),
  tick: on(({ label, value }) => page.getByRole('checkbox', { name: label }).setChecked(value)),
  press: on(async (name) => {
    await page.getByRole('button', { name }).click();
    await page.waitForLoadState();
  }),
  follow: on(async (name) => {
    // A link with this name, or else one with the name in it.
    const exact = page.getByRole('link', { name, exact: true });
    await ((await exact.count()) ? exact : page.getByRole('link', { name })).click();
    await page.waitForLoadState();
  }),
  key: (key) => page.keyboard.press(key),
  arrive: on((pattern) => page.waitForURL(new RegExp(pattern)).then(look)),
  sent: on(sent),
  find: on((text) => page.getByText(text).first().waitFor().then(look)),
  cookies: () => context.cookies(),
  // What a screen reader would say, as an outline.
  outline: () => page.locator('body').ariaSnapshot(),
  evaluate: (script) => page.evaluate(script),
  resize: (size) => page.setViewportSize(size),
  audit: (pictures) => audit(page, pictures, visitors),
  screenshot: (path) => page.screenshot({ path, fullPage: true }).then(() => path),
});
