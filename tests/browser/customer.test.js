import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';

import { asShown, assertNoSidewaysScroll, openPage, picture, shownMessage } from './lib/browser.js';
import {
  apiCall, callId, callPage, correlationId, customer, hostileCallId, http, makeLink, revokeLink, sessionPage, api,
} from './lib/stage.js';

/** A portal's page that shows `url` in a frame. Remembers what it was asked, to see what leaks to it. */
async function portal(t, address, url) {
  const seen = [];
  const server = createServer((request, response) => {
    seen.push({ path: request.url, referer: request.headers.referer });
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(
      request.url === '/'
        ? `<!doctype html><title>Portal</title><link rel="icon" href="data:,"><h1>Portal</h1><iframe src="${url}" width="100%" height="700"></iframe>`
        : '',
    );
  });
  await new Promise((resolve) => server.listen(0, address, resolve));
  t.after(() => server.close());
  return { origin: `http://${address}:${server.address().port}`, seen };
}

const ladder = (page) => page.getByRole('listbox');

test('a link made in the page opens this call and nothing of the operator', async (t) => {
  const { page, context } = await openPage(t);
  await page.goto(callPage(callId));
  await page.getByRole('button', { name: 'Create customer link' }).click();
  await picture(page, 'create-link');
  await page.getByRole('button', { name: 'Create link' }).click();
  const url = (await page.locator('#link-url').inputValue()).trim();
  await picture(page, 'created-link');
  assert.ok(url.startsWith(`${customer}/v/`), url);
  assert.match(await page.locator('#link-frame').inputValue(), /^<iframe src="/);

  const opened = await context.newPage();
  const asked = [];
  opened.on('request', (request) => asked.push(request.url()));
  await opened.goto(url);
  await ladder(opened).waitFor();
  await opened.waitForLoadState('networkidle');
  await picture(opened, 'customer-call');
  const call = await apiCall(callId);
  assert.equal(await opened.getByRole('option').count(), call.ladder.rows.length);
  assert.equal(await shownMessage(opened), asShown(call.messages[call.ladder.rows[0].message].raw));
  assert.deepEqual(asked.filter((one) => !one.startsWith(customer)), [], 'asks its own listener only');
  const hrefs = await opened.locator('a[href]').evaluateAll((anchors) => anchors.map((anchor) => anchor.href));
  assert.deepEqual(hrefs.filter((href) => !href.startsWith(url)), [], 'leads nowhere else');
});

test('a portal that is allowed to shows the link in a frame, and the token does not leave it', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const allowed = await portal(t, '127.0.0.1', url);
  const { page, requests } = await openPage(t, { origins: [allowed.origin] });
  await page.goto(allowed.origin);
  const frame = page.frameLocator('iframe');
  await frame.getByRole('listbox').waitFor();
  await page.waitForLoadState('networkidle');
  await picture(page, 'portal');
  await frame.locator('#ladder-row-1').click();

  const token = new URL(url).pathname.split('/').pop();
  for (const request of requests) {
    const { referer = '' } = await request.allHeaders();
    assert.ok(!referer.includes(token), `${request.url()} was asked with the token as referer`);
  }
  assert.ok(allowed.seen.every((one) => !JSON.stringify(one).includes(token)));
  const inside = page.frames().find((one) => one.url() === url);
  const kept = await inside.evaluate(() => JSON.stringify([document.cookie, Object.entries(localStorage), Object.entries(sessionStorage), document.title]));
  assert.ok(!kept.includes(token), 'the token is kept nowhere');
});

test('a portal that is not allowed to gets no frame', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const other = await portal(t, '127.0.0.2', url);
  const { page, problems } = await openPage(t, {
    origins: [other.origin],
    expected: [/frame-ancestors|Content Security Policy|violates|refused to connect|chrome-error/i],
  });
  await page.goto(other.origin);
  await page.waitForLoadState('networkidle');
  assert.equal(await page.frameLocator('iframe').getByRole('listbox').count(), 0);
  assert.ok(problems.some((problem) => /frame-ancestors/.test(problem)), `the browser refused the frame: ${problems}`);
});

test('a call link opens no other call and no page of the operator', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const { page } = await openPage(t, { expected: [/status of 40[34]/] });
  await page.goto(url);
  await ladder(page).waitFor();
  const { items } = await api('/calls?limit=50');
  const other = items.find((call) => call.call_id !== callId);
  assert.ok(other, 'there is another call to try');
  const status = (path) => page.evaluate(async (one) => (await fetch(one)).status, path);
  assert.equal(await status(`${new URL(url).pathname}/calls/${encodeURIComponent(other.call_id)}`), 403);
  assert.equal(await status('/api/v1/calls'), 403);
  assert.equal(await status('/'), 403);
});

test('a link revoked in the page shows its holder a page for humans', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const { page, context } = await openPage(t, { expected: [/status of 403/] });
  const holder = await context.newPage();
  await holder.goto(url);
  await ladder(holder).waitFor();

  await page.goto(`${http}/links`);
  const active = page.locator('tbody tr', { hasText: 'Active' });
  await active.first().waitFor();
  await picture(page, 'links');
  const before = await active.count();
  await active.first().getByRole('button', { name: 'Revoke' }).click();
  await picture(page, 'revoke');
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.locator('tbody tr', { hasText: 'Revoked' }).first().waitFor();
  await page.waitForFunction((n) => [...document.querySelectorAll('tbody tr')].filter((one) => one.textContent.includes('Active')).length === n, before - 1);

  const response = await holder.reload();
  assert.equal(response.status(), 403);
  assert.match(response.headers()['content-type'], /text\/html/);
  const text = await holder.locator('body').innerText();
  assert.ok(text.length > 20 && !text.includes('{'), text);
  await picture(holder, 'customer-revoked');
});

test('a link revoked while it is open says so in the page', async (t) => {
  const { id, url } = await makeLink({ correlation_id: correlationId });
  const { page } = await openPage(t, { expected: [/status of 403/] });
  await page.goto(url);
  await page.locator('.grid tbody tr').first().waitFor();
  await revokeLink(id);
  await page.locator('.grid tbody tr').first().click();
  await page.getByRole('alert').waitFor();
  assert.match(await page.getByRole('alert').innerText(), /withdrawn|revoked/i);
});

test('an altered link shows a page for humans', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const { page } = await openPage(t, { expected: [/status of 403/] });
  const end = url.at(-5) === 'A' ? 'B' : 'A';
  const response = await page.goto(`${url.slice(0, -5)}${end}${url.slice(-4)}`);
  assert.equal(response.status(), 403);
  assert.match(response.headers()['content-type'], /text\/html/);
  assert.equal(await page.getByRole('listbox').count(), 0);
});

test('a session link lists its calls, and opens them within the page', async (t) => {
  const { url } = await makeLink({ correlation_id: correlationId });
  const { page } = await openPage(t, { width: 1000, height: 720 });
  await page.goto(url);
  const rows = page.locator('.grid tbody tr');
  await rows.first().waitFor();
  await picture(page, 'customer-session');
  const session = await api(`/sessions/${encodeURIComponent(correlationId)}`);
  assert.equal(await rows.count(), Math.min(session.calls, 100));
  await rows.first().click();
  await ladder(page).waitFor();
  assert.equal(page.url(), url);
  await picture(page, 'customer-session-call');
  await page.getByRole('button', { name: /All calls/ }).click();
  await rows.first().waitFor();
  assert.equal(await ladder(page).count(), 0);
});

test('the customer page fits a narrow frame', async (t) => {
  const { url } = await makeLink({ call_id: callId });
  const { page } = await openPage(t, { width: 360, height: 640 });
  await page.goto(url);
  await ladder(page).waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'customer-narrow');
  await page.locator('#ladder-row-2').click();
  await page.locator('.raw').waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'customer-narrow-message');
  assert.ok(await page.locator('#ladder-row-2').isVisible());
});

test('the customer page keeps markup as text too', { skip: !hostileCallId && 'SIPLENS_HOSTILE_CALL_ID is not set' }, async (t) => {
  const { url } = await makeLink({ call_id: hostileCallId });
  const { page } = await openPage(t);
  await page.goto(url);
  await ladder(page).waitFor();
  const call = await apiCall(hostileCallId);
  assert.equal(await shownMessage(page), asShown(call.messages[0].raw));
  assert.equal(await page.locator('img, script:not([src]), i').count(), 0);
  assert.notEqual(await page.title(), 'owned');
});

test('a session link is made on the session page', async (t) => {
  const { page } = await openPage(t);
  await page.goto(sessionPage(correlationId));
  await page.getByRole('button', { name: 'Create customer link' }).click();
  await page.getByLabel('Expires after').selectOption({ label: '1 hour' });
  await page.getByRole('button', { name: 'Create link' }).click();
  const url = (await page.locator('#link-url').inputValue()).trim();
  const view = await (await fetch(`${url}/view`)).json();
  assert.equal(view.kind, 'session');
  assert.equal(view.correlation_id, correlationId);
  const life = new Date(view.expires_at).getTime() - Date.now();
  assert.ok(life > 50 * 60_000 && life <= 61 * 60_000, `expires in about an hour, not in ${life} ms`);
});
