import { type JSX, Show } from 'solid-js';

import type { ApiError } from '../api/client';
import { Icon } from './Icon';

export function Loading(props: { what: string }): JSX.Element {
  return (
    <div class="state" role="status">
      <span class="spinner" aria-hidden="true" />
      <p>Loading {props.what}…</p>
    </div>
  );
}

export function Empty(props: { title: string; children?: JSX.Element }): JSX.Element {
  return (
    <div class="state">
      <p class="state-title">{props.title}</p>
      <div class="quiet">{props.children}</div>
    </div>
  );
}

export function Failed(props: { failure: ApiError; title?: string; onRetry?: () => void }): JSX.Element {
  return (
    <div class="state" role="alert">
      <span class="state-mark">
        <Icon name="warning" />
      </span>
      <p class="state-title">{props.title ?? TITLES[props.failure.code] ?? 'That did not work'}</p>
      <p class="quiet">{props.failure.message}</p>
      <Show when={props.onRetry && !FINAL.has(props.failure.code)}>
        <button type="button" class="button" onClick={() => props.onRetry?.()}>
          Try again
        </button>
      </Show>
    </div>
  );
}

const TITLES: Record<string, string> = {
  bad_request: 'The server did not accept this',
  forbidden: 'Not allowed',
  link_expired: 'This link has expired',
  link_invalid: 'This link is not valid',
  link_revoked: 'This link has been withdrawn',
  not_found: 'Not found',
  outside_link: 'Outside of what this link shows',
  store_unavailable: 'The store is not available',
  unauthorized: 'Please log in',
  unreachable: 'No answer from the server',
};

/** Asking again gives the same answer. */
const FINAL = new Set(['bad_request', 'forbidden', 'link_expired', 'link_invalid', 'link_revoked', 'outside_link']);
