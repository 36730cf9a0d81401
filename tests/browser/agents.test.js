import assert from 'node:assert/strict';
import { test } from 'node:test';

import { assertNoSidewaysScroll, openPage, picture } from './lib/browser.js';
import { http } from './lib/stage.js';

const part = (page, name) => page.getByRole('region', { name, exact: true });

test('agents are shown with their clocks, addresses with refusals, and garbage as octets', async (t) => {
  const { page } = await openPage(t);
  await page.goto(http);
  await page.getByRole('link', { name: 'Agents' }).click();
  const agent = part(page, 'Capture agents').locator('tbody tr').first();
  await agent.waitFor();
  assert.match(await agent.innerText(), /^2001\b/);
  assert.equal(await agent.locator('.pill').innerText(), 'right');
  assert.match(await part(page, 'Addresses').locator('tbody').innerText(), /127\.0\.0\.1.*1 malformed/s);
  await picture(page, 'agents');
  await page.getByRole('button', { name: 'Look at packet 1' }).click();
  assert.match(await page.locator('dialog .raw').innerText(), /^0000 {2}3c 62 3e .* <b>no HEP<\/b>/);
  assert.equal(await page.locator('dialog .raw b').count(), 0);
});

test('the page of agents fits a phone', async (t) => {
  const { page } = await openPage(t, { width: 390, height: 844, dark: true });
  await page.goto(`${http}/agents`);
  await part(page, 'Capture agents').locator('tbody tr').first().waitFor();
  await assertNoSidewaysScroll(page);
  await picture(page, 'agents-phone');
});
