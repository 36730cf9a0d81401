import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertNoSidewaysScroll, openPage, picture, shownMessage } from './lib/browser.js';
import { callId, correlationId, http } from './lib/stage.js';

const rows = (page) => page.locator('.search .grid tbody tr');
const field = (page, name) => page.locator(`form [name=${name}]`);

test('a search by Call-ID finds the call, and a click opens it', async (t) => {
  const { page } = await openPage(t);
  await page.goto(http);
  await field(page, 'call_id').fill(callId);
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await page.waitForFunction(() => document.querySelectorAll('.grid tbody tr').length === 1);
  await picture(page, 'search');
  assert.match(await rows(page).textContent(), /Answered/);
  await rows(page).first().click();
  await page.getByRole('listbox').waitFor();
  assert.equal(new URL(page.url()).pathname, `/calls/${encodeURIComponent(callId)}`);
});

test('the search stays in the address, and going back shows it again', async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${http}/?call_id=${encodeURIComponent(callId)}&since=all`);
  await rows(page).first().waitFor();
  assert.equal(await field(page, 'call_id').inputValue(), callId);
  await page.reload();
  await rows(page).first().waitFor();
  assert.equal(await rows(page).count(), 1);
  await rows(page).first().click();
  await page.getByRole('listbox').waitFor();
  await page.goBack();
  await rows(page).first().waitFor();
  assert.equal(new URL(page.url()).searchParams.get('call_id'), callId);
  await page.getByRole('button', { name: 'Remove filter Call-ID' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.grid tbody tr').length > 1);
  assert.equal(new URL(page.url()).searchParams.get('call_id'), null);
});

test('messages are listed too, and a click opens the call at that message', async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${http}/?view=messages&call_id=${encodeURIComponent(callId)}&method=BYE`);
  const bye = rows(page).filter({ hasText: /^[\d-]+ [\d:.]+BYE/ }).first();
  await bye.waitFor();
  await picture(page, 'search-messages');
  await bye.click();
  await page.getByRole('listbox').waitFor();
  assert.match(await shownMessage(page), /^BYE /);
});

test('a search without a match says so and offers all times', async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${http}/?call_id=no-such-call`);
  await page.getByText('No calls found').waitFor();
  await page.getByRole('button', { name: 'Search all times' }).click();
  await page.waitForURL(/since=all/);
});

test('a mistake in the form is told before anything is asked', async (t) => {
  const { page, requests } = await openPage(t);
  await page.goto(http);
  await page.waitForLoadState('networkidle');
  const before = requests.length;
  await field(page, 'status').fill('nonsense');
  await field(page, 'status').press('Enter');
  await page.getByRole('alert').waitFor();
  assert.equal(requests.length, before);
});

test('what the server refuses is shown in its words', async (t) => {
  const { page } = await openPage(t, { expected: [/status of 400/] });
  await page.goto(`${http}/?src=not-an-address`);
  await page.getByRole('alert').waitFor();
  await picture(page, 'search-refused');
  assert.equal(await page.getByRole('button', { name: 'Try again' }).count(), 0);
});

test('a session is reached from its calls and shows the figures of the API', async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${http}/?call_id=${encodeURIComponent(callId)}`);
  await page.getByRole('link', { name: correlationId, exact: true }).first().click();
  await page.getByRole('heading', { name: 'Calls by outcome' }).waitFor();
  const calls = page.locator('.page .grid tbody tr');
  await calls.first().waitFor();
  await picture(page, 'session');
  const session = await (await fetch(`${http}/api/v1/sessions/${encodeURIComponent(correlationId)}`)).json();
  const fact = async (name) => (await page.locator('.fact', { hasText: name }).locator('dd').first().textContent())?.trim();
  assert.equal(await fact('Calls'), session.calls.toLocaleString('en-GB'));
  assert.equal(await fact('Messages'), session.messages.toLocaleString('en-GB'));
  assert.equal(await calls.count(), Math.min(session.calls, 100));
});

test('without a user the page says that nobody has to log in', async (t) => {
  const { page } = await openPage(t);
  await page.goto(http);
  await page.getByText('siplens user add NAME').waitFor();
});

test('an API that asks for a login leads to the login page and back', async (t) => {
  const { page } = await openPage(t, { expected: [/status of 401/] });
  let loggedIn = false;
  const refuse = { status: 401, json: { error: { code: 'unauthorized', message: 'log in' } } };
  await page.route('**/api/v1/**', (route) => {
    const path = new URL(route.request().url()).pathname;
    if (path.endsWith('/login')) {
      const { password } = route.request().postDataJSON();
      loggedIn = password === 'right';
      return route.fulfill(loggedIn ? { status: 200, json: {} } : refuse);
    }
    if (!loggedIn) return route.fulfill(refuse);
    return path.endsWith('/me') ? route.fulfill({ status: 200, json: { name: 'operator', auth: 'user' } }) : route.continue();
  });
  await page.goto(`${http}/calls/${encodeURIComponent(callId)}`);
  await page.getByRole('heading', { name: 'Log in' }).waitFor();
  await picture(page, 'login');
  await page.getByLabel('Name').fill('operator');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('alert').waitFor();
  await page.getByLabel('Password').fill('right');
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.getByRole('listbox').waitFor();
  assert.equal(new URL(page.url()).pathname, `/calls/${encodeURIComponent(callId)}`);
});

test('the search fits a phone', async (t) => {
  const { page } = await openPage(t, { width: 390, height: 844 });
  await page.goto(http);
  await rows(page).first().waitFor();
  await assertNoSidewaysScroll(page);
  await page.getByRole('button', { name: 'Filters' }).click();
  await field(page, 'call_id').waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'search-phone');
});
