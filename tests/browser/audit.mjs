// What holds for every page: no violation of axe-core's rules, nothing wider than the window, no script, and controls that
// the keyboard reaches in the order of the document, each with a visible focus. One load of the page serves all window
// sizes and colour schemes.
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';

const WIDTHS = [360, 768, 1440];
const HEIGHT = 800;
// All that a colour scheme changes.
const COLORS = { runOnly: ['color-contrast', 'link-in-text-block'] };
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/**
 * The problems of the page, as text. With `pictures`, a path without an extension, it also writes screenshots. Where scripts
 * are disabled, axe-core cannot run either: then the page is only compared with its window. The last argument has the
 * visitor's options.
 */
export async function audit(page, pictures, { javaScriptEnabled = true, colorScheme: visitors = 'light' }) {
  if (!javaScriptEnabled) {
    if (pictures) await page.screenshot({ path: `${pictures}.png`, fullPage: true });
    return page.evaluate(wider);
  }
  const found = [];
  const before = page.viewportSize();
  const load = await page.context().newCDPSession(page);
  const problems = (list, where) => list.forEach((problem) => found.push(`${where}: ${problem}`));
  problems(await page.evaluate(scripts), 'any size');
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const where = `${width} px, ${colorScheme}`;
      problems(await violations(load, colorScheme === 'dark' ? COLORS : {}), where);
      if (pictures) await page.screenshot({ path: `${pictures}-${width}-${colorScheme}.png`, fullPage: true });
    }
    problems(await page.evaluate(wider), `${width} px`);
    problems(await walk(page), `${width} px`);
  }
  await load.detach();
  await page.emulateMedia({ colorScheme: visitors });
  if (before) await page.setViewportSize(before);
  return found;
}

/** Runs axe-core in an isolated world: the page's content security policy does not let any script run. */
async function violations(session, options) {
  const { frameTree } = await session.send('Page.getFrameTree');
  const world = { frameId: frameTree.frame.id, worldName: 'axe' };
  const { executionContextId } = await session.send('Page.createIsolatedWorld', world);
  const run = async (expression) => {
    const command = { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', command);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  if (!(await run('typeof axe === "object"'))) await run(`${axe};0`);
  const all = { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } }, ...options };
  return run(`axe.run(document, ${JSON.stringify(all)}).then(({ violations }) => violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))`);
}

/** The page must not need a script: it has none, in an element or in an attribute. */
function scripts() {
  const handlers = [...document.querySelectorAll('*')].filter((element) =>
    element.getAttributeNames().some((name) => name.startsWith('on')));
  return [...document.scripts, ...handlers].map((element) => `a script: ${element.outerHTML}`);
}

function wider() {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  const outside = [...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > clientWidth);
  return [`${scrollWidth - clientWidth} px are only reached by scrolling sideways: ${outside.at(-1)?.outerHTML}`];
}

/** Presses Tab from the start of the page to its end. */
async function walk(page) {
  const count = await page.evaluate(() => {
    const focusable = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [contenteditable]';
    const controls = [...document.querySelectorAll(focusable)].filter((element) => element.checkVisibility() && !element.disabled);
    const reached = [];
    const seen = new AbortController();
    addEventListener('focusin', ({ target }) => {
      const { outlineStyle, outlineWidth } = getComputedStyle(target);
      const box = target.getBoundingClientRect();
      reached.push({
        control: controls.indexOf(target),
        html: target.outerHTML,
        visible: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && box.bottom > 0 && box.top < innerHeight,
      });
    }, { signal: seen.signal });
    window.walked = () => {
      seen.abort();
      document.activeElement.blur();
      return { controls: controls.map((control) => control.outerHTML), reached };
    };
    // The next Tab starts at the top, wherever the focus is now.
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute('tabindex');
    reached.length = 0;
    return controls.length;
  });
  for (let pressed = 0; pressed < count; pressed += 1) await page.keyboard.press('Tab');
  const { controls, reached } = await page.evaluate(() => window.walked());
  const found = reached.filter(({ visible }) => !visible).map(({ html }) => `the focus cannot be seen: ${html}`);
  const order = reached.map(({ control }) => control);
  if (order.join() !== controls.map((_, index) => index).join()) {
    found.push(`Tab reaches ${order.join(', ')} of the controls ${controls.map((html, index) => `\n  ${index}: ${html}`).join('')}`);
  }
  return found;
}
