import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertNoSidewaysScroll, openPage, picture, shownMessage } from './lib/browser.js';
import { apiCall, callPage, eventCallId, http, makeLink, revokeLink } from './lib/stage.js';

const skip = eventCallId ? false : 'SIPLENS_EVENT_CALL_ID is not set';
const notes = (page) => page.locator('.ladder-row[data-shape="note"]');

test('events are notes in the ladder, and the report is readable beside it', { skip }, async (t) => {
  const { page } = await openPage(t);
  const call = await apiCall(eventCallId);
  await page.goto(callPage(eventCallId));
  await page.getByRole('listbox').waitFor();
  assert.equal(await notes(page).count(), 4);
  assert.equal(await page.getByRole('option').count(), call.ladder.rows.length);
  assert.equal(await page.locator('.arrow-head').count(), 6, 'a note has no arrow');
  assert.match((await notes(page).first().getAttribute('aria-label')) ?? '', /route\[MAIN\]: .*, event/);
  const report = call.ladder.rows.findIndex((row) => row.label.startsWith('RTP report'));
  await page.locator(`#ladder-row-${report}`).click();
  assert.match(await shownMessage(page), /\n {2}"mos": 4\.31,\n/);
  await picture(page, 'call-events');
  const rtcp = call.ladder.rows.findIndex((row) => row.label === 'RTCP');
  await page.locator(`#ladder-row-${rtcp}`).click();
  assert.match(await shownMessage(page), /^0000 {2}80 c9 00 01 12 34 ab cd/);
});

test('events can be put away, and the message one reads stays', { skip }, async (t) => {
  const { page } = await openPage(t, { dark: true });
  const call = await apiCall(eventCallId);
  await page.goto(callPage(eventCallId));
  const bye = call.ladder.rows.findIndex((row) => row.label === 'BYE');
  await page.locator(`#ladder-row-${bye}`).click();
  await picture(page, 'call-events-dark');
  await page.getByLabel('4 events').uncheck();
  assert.equal(await notes(page).count(), 0);
  assert.equal(await page.getByRole('option').count(), 6);
  assert.match(await shownMessage(page), /^BYE /);
  await page.getByLabel('4 events').check();
  assert.equal(await page.locator(`#ladder-row-${bye}`).getAttribute('aria-selected'), 'true');
});

test('a ladder with events fits a narrow window', { skip }, async (t) => {
  const { page } = await openPage(t, { width: 390, height: 844 });
  await page.goto(callPage(eventCallId));
  await notes(page).first().waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'call-events-narrow');
});

test('a search for log lines lists messages, also from the list of calls', { skip }, async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${http}/?since=-1h`);
  await page.getByLabel('Protocol type').fill('100');
  await page.getByLabel('Protocol type').press('Enter');
  await page.locator('.grid-messages').waitFor();
  await page.getByText('onreply_route[RTP]: answer rewritten').first().waitFor();
  await picture(page, 'search-events');
  await page.locator('.grid-messages tbody tr', { hasText: 'onreply_route' }).first().click();
  assert.equal(await shownMessage(page), 'onreply_route[RTP]: answer rewritten\n');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Calls', exact: true }).click();
  await page.locator('.grid-calls').waitFor();
  assert.equal(await page.locator('.chip').count(), 0, 'what no call can meet is put away');
});

test('a customer sees the call without its events', { skip }, async (t) => {
  const link = await makeLink({ call_id: eventCallId });
  t.after(() => revokeLink(link.id));
  const { page, requests } = await openPage(t);
  const answers = [];
  page.on('response', async (response) => answers.push(await response.text().catch(() => '')));
  await page.goto(link.url);
  await page.getByRole('listbox').waitFor();
  assert.equal(await page.getByRole('option').count(), 6);
  assert.equal(await notes(page).count(), 0);
  assert.equal(await page.getByText(/events?$/).count(), 0);
  assert.ok(requests.length > 0 && answers.every((text) => !text.includes('route[MAIN]')));
});
