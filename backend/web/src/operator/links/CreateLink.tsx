import { createEffect, createSignal, For, type JSX, on, Show } from 'solid-js';

import { type ApiError, failureOf } from '../../shared/api/client';
import type { CreatedLink, NewLink } from '../../shared/api/types';
import { dateTime, exactTime, relative, zone } from '../../shared/format';
import { CopyButton } from '../../shared/ui/CopyButton';
import { Dialog } from '../../shared/ui/Dialog';
import { createLink } from '../api';
import { fromLocalField, toLocalField } from '../search/query';
import { frameSnippet } from './snippet';

import './links.css';

const HOUR = 3600;
const EXPIRIES: { seconds: number; words: string }[] = [
  { seconds: HOUR, words: '1 hour' },
  { seconds: 8 * HOUR, words: '8 hours' },
  { seconds: 24 * HOUR, words: '24 hours' },
  { seconds: 7 * 24 * HOUR, words: '7 days' },
  { seconds: 30 * 24 * HOUR, words: '30 days' },
];

export interface CreateLinkProps {
  open: boolean;
  target: { call_id: string } | { correlation_id: string };
  onClose: () => void;
}

/** Makes a link for a customer, shows it, and how to put it into a page. */
export function CreateLink(props: CreateLinkProps): JSX.Element {
  const [expiresIn, setExpiresIn] = createSignal(24 * HOUR);
  const [since, setSince] = createSignal<string | null>(null);
  const [until, setUntil] = createSignal<string | null>(null);
  const [made, setMade] = createSignal<CreatedLink | null>(null);
  const [failure, setFailure] = createSignal<ApiError | null>(null);
  const [busy, setBusy] = createSignal(false);
  const what = () => ('call_id' in props.target ? 'call' : 'session');

  createEffect(
    on(
      () => props.open,
      (open) => {
        if (!open) return;
        setMade(null);
        setFailure(null);
        setSince(null);
        setUntil(null);
      },
    ),
  );

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const link: NewLink = { ...props.target, expires_in: expiresIn() };
    const [from, to] = [since(), until()];
    if (from !== null) link.since = from;
    if (to !== null) link.until = to;
    setBusy(true);
    try {
      setMade(await createLink(link));
      setFailure(null);
    } catch (cause) {
      setFailure(failureOf(cause));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Dialog open={props.open} label="Create customer link" onClose={props.onClose}>
      <Show
        when={made()}
        fallback={
          <form class="dialog-body" onSubmit={(event) => void submit(event)}>
            <h2>Create customer link</h2>
            <p class="quiet">
              Whoever has the link sees this {what()} and nothing else, without logging in, until it expires or you revoke it.
            </p>
            <label class="field">
              <span>Expires after</span>
              <select class="input" name="expires_in" onChange={(event) => setExpiresIn(Number(event.currentTarget.value))}>
                <For each={EXPIRIES}>
                  {(expiry) => (
                    <option value={expiry.seconds} selected={expiry.seconds === expiresIn()}>
                      {expiry.words}
                    </option>
                  )}
                </For>
              </select>
            </label>
            <details class="more-options">
              <summary>Limit to a time window</summary>
              <div class="window-fields">
                <label class="field">
                  <span>Messages from</span>
                  <input class="input" type="datetime-local" step="1" name="since" value={toLocalField(since())} onChange={(event) => setSince(fromLocalField(event.currentTarget.value))} />
                </label>
                <label class="field">
                  <span>Messages until</span>
                  <input class="input" type="datetime-local" step="1" name="until" value={toLocalField(until())} onChange={(event) => setUntil(fromLocalField(event.currentTarget.value))} />
                </label>
              </div>
              <p class="hint">Zone: {zone()}</p>
            </details>
            <Show when={failure()}>
              {(refused) => (
                <p class="notice notice-bad rounded" role="alert">
                  {refused().message}
                </p>
              )}
            </Show>
            <div class="dialog-buttons">
              <button type="button" class="button" onClick={() => props.onClose()}>
                Cancel
              </button>
              <button type="submit" class="button primary" disabled={busy()}>
                {busy() ? 'Creating…' : 'Create link'}
              </button>
            </div>
          </form>
        }
      >
        {(link) => (
          <div class="dialog-body">
            <h2>Customer link</h2>
            <p class="quiet" title={exactTime(link().expires_at)}>
              Opens this {what()} until {dateTime(link().expires_at)} ({relative(link().expires_at)}). It is not shown again: copy it now.
            </p>
            <div class="field">
              <div class="copy-head">
                <label for="link-url">Link</label>
                <CopyButton text={link().url} label="Copy" what="link" />
              </div>
              <textarea id="link-url" class="input mono link-text" readonly rows="3" onFocus={(event) => event.currentTarget.select()}>
                {link().url}
              </textarea>
            </div>
            <div class="field">
              <div class="copy-head">
                <label for="link-frame">For a page of your portal</label>
                <CopyButton text={frameSnippet(link().url)} label="Copy" what="iframe snippet" />
              </div>
              <textarea id="link-frame" class="input mono link-text" readonly rows="4" onFocus={(event) => event.currentTarget.select()}>
                {frameSnippet(link().url)}
              </textarea>
              <p class="hint">The portal's origin must be one of those the server's configuration allows to frame the customer page.</p>
            </div>
            <div class="dialog-buttons">
              <a class="button" href={link().url} target="_blank" rel="noopener noreferrer">
                Open it
              </a>
              <button type="button" class="button primary" onClick={() => props.onClose()}>
                Done
              </button>
            </div>
          </div>
        )}
      </Show>
    </Dialog>
  );
}
