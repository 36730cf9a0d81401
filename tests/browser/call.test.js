import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { asShown, assertNoSidewaysScroll, openPage, picture, shownMessage } from './lib/browser.js';
import { apiCall, callId, callPage, correlationId, hostileCallId, http, sessionPage } from './lib/stage.js';

const row = (page, index) => page.locator(`#ladder-row-${index}`);

test('the ladder has an arrow for every message, and the raw INVITE beside it', async (t) => {
  const { page } = await openPage(t);
  const call = await apiCall(callId);
  await page.goto(callPage(callId));
  await page.getByRole('listbox').waitFor();
  await picture(page, 'call');
  assert.equal(await page.getByRole('option').count(), call.ladder.rows.length);
  assert.equal(await page.locator('.arrow-head').count(), call.ladder.rows.length);
  assert.equal(await page.locator('.ladder-host').count(), call.ladder.hosts.length);
  for (const [index, one] of call.ladder.rows.entries()) {
    const name = await row(page, index).getAttribute('aria-label');
    assert.ok(name.includes(one.label), `${name} says ${one.label}`);
    assert.ok(name.includes(call.ladder.hosts[one.from].address), `${name} says where it came from`);
    assert.ok(name.includes(call.ladder.hosts[one.to].address), `${name} says where it went`);
  }
  assert.match(await shownMessage(page), /^INVITE /);
  assert.equal(await shownMessage(page), asShown(call.messages[call.ladder.rows[0].message].raw));
});

test('a click on an arrow shows its message', async (t) => {
  const { page } = await openPage(t);
  const call = await apiCall(callId);
  await page.goto(callPage(callId));
  const last = call.ladder.rows.length - 1;
  await row(page, last).click();
  assert.equal(await shownMessage(page), asShown(call.messages[call.ladder.rows[last].message].raw));
  assert.equal(await row(page, last).getAttribute('aria-selected'), 'true');
  await page.reload();
  await page.getByRole('listbox').waitFor();
  assert.equal(await row(page, last).getAttribute('aria-selected'), 'true', 'the address remembers the message');
});

test('the ladder is walked with the keyboard', async (t) => {
  const { page } = await openPage(t);
  const call = await apiCall(callId);
  await page.goto(callPage(callId));
  const ladder = page.getByRole('listbox');
  await ladder.focus();
  await page.keyboard.press('ArrowDown');
  assert.equal(await ladder.getAttribute('aria-activedescendant'), 'ladder-row-1');
  assert.equal(await shownMessage(page), asShown(call.messages[call.ladder.rows[1].message].raw));
  await page.keyboard.press('End');
  assert.equal(await ladder.getAttribute('aria-activedescendant'), `ladder-row-${call.ladder.rows.length - 1}`);
  await page.keyboard.press('ArrowDown');
  assert.equal(await ladder.getAttribute('aria-activedescendant'), `ladder-row-${call.ladder.rows.length - 1}`);
  await page.keyboard.press('Home');
  assert.equal(await ladder.getAttribute('aria-activedescendant'), 'ladder-row-0');
  await picture(page, 'call-keyboard');
});

test('a message is copied as it was captured', async (t) => {
  const { page, context } = await openPage(t);
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: http });
  const call = await apiCall(callId);
  await page.goto(callPage(callId));
  await page.getByRole('button', { name: 'Copy message' }).click();
  await page.getByText('Copied').first().waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied.replaceAll('\r\n', '\n'), call.messages[0].raw.replaceAll('\r\n', '\n'));
});

test('the call is saved as pcap, text and JSON', async (t) => {
  const { page } = await openPage(t);
  const save = async (name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name, exact: true }).click()]);
    return readFile(await download.path());
  };
  await page.goto(callPage(callId));
  const pcap = await save('PCAP');
  assert.ok(['d4c3b2a1', 'a1b2c3d4', '4d3cb2a1', 'a1b23c4d', '0a0d0d0a'].includes(pcap.subarray(0, 4).toString('hex')), 'a capture file');
  assert.match((await save('Text')).toString(), /INVITE /);
  assert.ok(JSON.parse((await save('JSON')).toString()));
});

test('the ladder is saved as a picture', async (t) => {
  const { page } = await openPage(t);
  const save = async (name) => {
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name, exact: true }).click()]);
    return readFile(await download.path());
  };
  await page.goto(callPage(callId));
  const svg = (await save('SVG')).toString();
  const call = await apiCall(callId);
  assert.equal(svg.match(/<polygon /g).length, call.ladder.rows.length);
  assert.equal((await save('PNG')).subarray(1, 4).toString(), 'PNG');
});

test('a call that does not exist is told so', async (t) => {
  const { page } = await openPage(t, { expected: [/status of 404/] });
  await page.goto(callPage('no-such-call'));
  await page.getByRole('alert').waitFor();
});

test('the call page is dark where the reader likes it so', async (t) => {
  const { page } = await openPage(t, { dark: true });
  await page.goto(callPage(callId));
  await page.getByRole('listbox').waitFor();
  const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.ok(ground.match(/\d+/g).slice(0, 3).every((part) => Number(part) < 60), ground);
  await picture(page, 'call-dark');
});

test('the call page fits a phone, where the message lies over the ladder', async (t) => {
  const { page } = await openPage(t, { width: 390, height: 844 });
  await page.goto(callPage(callId));
  await page.getByRole('listbox').waitFor();
  await assertNoSidewaysScroll(page);
  assert.equal(await page.locator('.raw').isVisible(), false);
  await row(page, 0).click();
  await page.locator('.raw').waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'call-phone');
  await page.getByRole('button', { name: 'Close message' }).click();
  assert.equal(await page.locator('.raw').isVisible(), false);
});

test('markup in a message stays text on every page', { skip: !hostileCallId && 'SIPLENS_HOSTILE_CALL_ID is not set' }, async (t) => {
  const { page } = await openPage(t);
  const call = await apiCall(hostileCallId);
  const places = [
    callPage(hostileCallId),
    `${http}/?call_id=${encodeURIComponent(hostileCallId)}`,
    `${http}/?view=messages&call_id=${encodeURIComponent(hostileCallId)}`,
    ...call.correlation_ids.map(sessionPage),
  ];
  for (const place of places) {
    await page.goto(place);
    await page.locator('.grid tbody tr, [role=listbox]').first().waitFor();
    await page.waitForLoadState('networkidle');
    assert.equal(await page.locator('img, b:has-text("alice"), script:not([src]), i').count(), 0, `no element of the message's making on ${place}`);
    assert.notEqual(await page.title(), 'owned');
  }
  await page.goto(places[0]);
  await page.getByRole('listbox').waitFor();
  await picture(page, 'call-hostile');
  assert.equal(await shownMessage(page), asShown(call.messages[0].raw));
});

test('the session of the call is one click away', async (t) => {
  const { page } = await openPage(t);
  await page.goto(callPage(callId));
  await page.locator('.facts').getByRole('link', { name: correlationId, exact: true }).click();
  await page.waitForURL(sessionPage(correlationId));
});
