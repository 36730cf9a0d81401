// One Chromium per test file. Every page is watched: a test fails if a page logs an error, breaks the content security
// policy or asks anybody but the two listeners, unless the test says that it expects so.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before } from 'node:test';

import { chromium as playwright } from 'playwright-core';

import { chromium, customer, http, screenshots } from './stage.js';

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let browser;

before(async () => {
  browser = await playwright.launch({ executablePath: chromium, args: ARGUMENTS });
});
after(async () => {
  await browser?.close();
});

/**
 * A page in a context of its own, closed and judged when the test ends.
 * `expected`: patterns of what may go wrong. `origins`: who may be asked besides the two listeners.
 */
export async function openPage(t, { width = 1440, height = 900, dark = false, expected = [], origins = [] } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? 'dark' : 'light',
    timezoneId: 'Europe/Berlin',
    acceptDownloads: true,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const problems = [];
  const requests = [];
  const known = new Set([http, customer, ...origins]);
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    requests.push(request);
    const { origin, protocol } = new URL(request.url());
    if (protocol !== 'blob:' && protocol !== 'data:' && protocol !== 'chrome-error:' && !known.has(origin)) {
      problems.push(`request to ${origin}`);
    }
  });
  t.after(async () => {
    await context.close();
    const unexpected = problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)));
    assert.deepEqual(unexpected, [], 'what the page complained about');
  });
  return { page, context, requests, problems };
}

/** Fails if the page is wider than its window. */
export async function assertNoSidewaysScroll(page) {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(excess <= 0, `the page is ${excess} px wider than its window`);
}

export async function picture(page, name) {
  if (!screenshots) return;
  await mkdir(screenshots, { recursive: true });
  await page.screenshot({ path: join(screenshots, `${name}.png`) });
}

/** What is shown of the selected message, without the line ends' notation. */
export const shownMessage = async (page) => (await page.locator('.raw').textContent()) ?? '';

/** A message as the pages show it: line by line, invisible characters aside. */
export const asShown = (raw) => raw.replace(/\r\n|\r/g, '\n').replace(/\n$/, '') + '\n';
