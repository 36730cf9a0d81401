// What the tests are told about the running backend, and its API as node sees it.

import assert from 'node:assert/strict';

const told = (name) => {
  const value = process.env[name];
  assert.ok(value, `${name} is not set; see README.md`);
  return value;
};

export const http = told('SIPLENS_HTTP_URL').replace(/\/$/, '');
export const customer = told('SIPLENS_CUSTOMER_URL').replace(/\/$/, '');
export const callId = told('SIPLENS_CALL_ID');
export const correlationId = told('SIPLENS_CORRELATION_ID');
export const eventCallId = process.env.SIPLENS_EVENT_CALL_ID;
export const hostileCallId = process.env.SIPLENS_HOSTILE_CALL_ID;
export const chromium = process.env.CHROMIUM || '/usr/bin/chromium';
export const screenshots = process.env.SIPLENS_SCREENSHOTS;

export const callPage = (id) => `${http}/calls/${encodeURIComponent(id)}`;
export const sessionPage = (id) => `${http}/sessions/${encodeURIComponent(id)}`;

/** GET on the API; the answer must be JSON and good. */
export async function api(path) {
  const response = await fetch(`${http}/api/v1${path}`);
  assert.equal(response.status, 200, `GET ${path}`);
  return response.json();
}

export const apiCall = (id) => api(`/calls/${encodeURIComponent(id)}`);

/** Makes a customer link as a script of an operator would. */
export async function makeLink(target) {
  const response = await fetch(`${http}/api/v1/links`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(target),
  });
  assert.equal(response.status, 201, 'POST /links');
  return response.json();
}

export async function revokeLink(id) {
  const response = await fetch(`${http}/api/v1/links/${encodeURIComponent(id)}`, { method: 'DELETE' });
  assert.equal(response.status, 204, 'DELETE /links');
}
