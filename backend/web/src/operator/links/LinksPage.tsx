import { createSignal, For, type JSX, Show } from 'solid-js';

import { type ApiError, failureOf } from '../../shared/api/client';
import type { Link } from '../../shared/api/types';
import { dateTime, exactTime, relative } from '../../shared/format';
import { createPager } from '../../shared/load';
import { Dialog } from '../../shared/ui/Dialog';
import { MoreButton } from '../../shared/ui/MoreButton';
import { Empty, Failed, Loading } from '../../shared/ui/States';
import { fetchLinks, revokeLink } from '../api';
import { callHref, sessionHref } from '../routes';
import { linkState } from './state';

import './links.css';

/** The customer links there are, and the way to take one back. */
export function LinksPage(): JSX.Element {
  const links = createPager<true, Link>(() => true, (_, cursor, signal) => fetchLinks(cursor, signal));
  const [revoking, setRevoking] = createSignal<Link | null>(null);
  const [failure, setFailure] = createSignal<ApiError | null>(null);

  const revoke = async () => {
    const link = revoking();
    if (!link) return;
    try {
      await revokeLink(link.id);
      setRevoking(null);
      links.reload();
    } catch (cause) {
      setFailure(failureOf(cause));
    }
  };

  return (
    <div class="page">
      <header class="page-head">
        <div class="page-title">
          <h1>Customer links</h1>
        </div>
      </header>
      <section class="panel">
        <Show
          when={links.ready()}
          fallback={
            <Show when={links.failure()} fallback={<Loading what="links" />}>
              {(refused) => <Failed failure={refused()} onRetry={() => links.reload()} />}
            </Show>
          }
        >
          <Show
            when={links.items().length > 0}
            fallback={<Empty title="No customer links">Open a call or a session and choose “Create customer link”.</Empty>}
          >
            <div class="grid-frame">
            <table class="grid grid-links">
              <caption class="off-screen">Customer links, newest first</caption>
              <thead>
                <tr>
                  <th scope="col">Shows</th>
                  <th scope="col" class="col-state">State</th>
                  <th scope="col" class="col-when">Expires</th>
                  <th scope="col" class="col-created">Created</th>
                  <th scope="col" class="col-action">
                    <span class="off-screen">Revoke</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                <For each={links.items()}>
                  {(link) => (
                    <tr>
                      <td class="cell-target">
                        <Target link={link} />
                      </td>
                      <td>
                        <span class="pill" data-tone={linkState(link, new Date()).tone}>
                          {linkState(link, new Date()).words}
                        </span>
                      </td>
                      <td class="cell-when" title={exactTime(link.expires_at)}>
                        {dateTime(link.expires_at)} <span class="quiet">{relative(link.expires_at)}</span>
                      </td>
                      <td class="col-created" title={exactTime(link.created_at)}>
                        {dateTime(link.created_at)}
                      </td>
                      <td class="cell-action">
                        <Show when={linkState(link, new Date()).active}>
                          <button
                            type="button"
                            class="button danger"
                            onClick={() => {
                              setFailure(null);
                              setRevoking(link);
                            }}
                          >
                            Revoke
                          </button>
                        </Show>
                      </td>
                    </tr>
                  )}
                </For>
              </tbody>
            </table>
            </div>
            <MoreButton pager={links} one="link" />
          </Show>
        </Show>
      </section>
      <Dialog open={revoking() !== null} label="Revoke link" onClose={() => setRevoking(null)}>
        <Show when={revoking()}>
          {(link) => (
            <div class="dialog-body">
              <h2>Revoke this link?</h2>
              <p class="quiet">Whoever has it sees nothing from now on. This cannot be undone, but a new link can be made.</p>
              <p class="clip">
                <Target link={link()} />
              </p>
              <Show when={failure()}>
                {(refused) => (
                  <p class="notice notice-bad rounded" role="alert">
                    {refused().message}
                  </p>
                )}
              </Show>
              <div class="dialog-buttons">
                <button type="button" class="button" onClick={() => setRevoking(null)}>
                  Keep it
                </button>
                <button type="button" class="button danger" onClick={() => void revoke()}>
                  Revoke
                </button>
              </div>
            </div>
          )}
        </Show>
      </Dialog>
    </div>
  );
}

function Target(props: { link: Link }): JSX.Element {
  return (
    <Show
      when={props.link.call_id}
      fallback={
        <>
          <span class="quiet">Session </span>
          <a class="mono" href={sessionHref(props.link.correlation_id ?? '')} title={props.link.correlation_id ?? ''}>
            {props.link.correlation_id}
          </a>
        </>
      }
    >
      {(callId) => (
        <>
          <span class="quiet">Call </span>
          <a class="mono" href={callHref(callId())} title={callId()}>
            {callId()}
          </a>
        </>
      )}
    </Show>
  );
}
