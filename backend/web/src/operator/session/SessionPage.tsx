import { createSignal, type JSX, Show } from 'solid-js';

import type { ListedCall } from '../../shared/api/types';
import { CallGrid } from '../../shared/call/CallGrid';
import { createLoad, createPager } from '../../shared/load';
import { SessionSummary } from '../../shared/session/SessionSummary';
import { CopyButton } from '../../shared/ui/CopyButton';
import { Icon } from '../../shared/ui/Icon';
import { MoreButton } from '../../shared/ui/MoreButton';
import { Empty, Failed, Loading } from '../../shared/ui/States';
import { fetchSession, fetchSessionCalls } from '../api';
import { CreateLink } from '../links/CreateLink';
import { navigate } from '../router';
import { callHref } from '../routes';
import { searchHref } from '../search/query';

export function SessionPage(props: { correlationId: string }): JSX.Element {
  const session = createLoad(() => props.correlationId, fetchSession);
  const calls = createPager<string, ListedCall>(() => props.correlationId, fetchSessionCalls);
  const [sharing, setSharing] = createSignal(false);
  const searched = () =>
    searchHref({ view: 'messages', filters: { correlation_id: props.correlationId }, since: null, until: null });
  const reload = () => {
    session.reload();
    calls.reload();
  };
  return (
    <div class="page">
      <header class="page-head">
        <div class="page-title">
          <h1>
            <span class="quiet">Session</span>
            <span class="party" title={props.correlationId}>{props.correlationId}</span>
          </h1>
          <CopyButton text={props.correlationId} what="session id" />
        </div>
        <div class="toolbar">
          <a class="button" href={searched()}>
            <Icon name="search" />
            <span>Its messages</span>
          </a>
          <button type="button" class="button icon-only" title="Load again" aria-label="Load again" onClick={reload}>
            <Icon name="reload" />
          </button>
          <button type="button" class="button primary" onClick={() => setSharing(true)}>
            <Icon name="link" />
            <span>Create customer link</span>
          </button>
        </div>
      </header>
      <Show
        when={session.value()}
        fallback={
          <Show when={session.failure()} fallback={<Loading what="session" />}>
            {(failure) => <Failed failure={failure()} onRetry={reload} />}
          </Show>
        }
      >
        {(found) => (
          <>
            <SessionSummary session={found()} />
            <section class="panel">
              <header class="panel-head">
                <h2>Calls</h2>
              </header>
              <Show
                when={calls.ready()}
                fallback={
                  <Show when={calls.failure()} fallback={<Loading what="calls" />}>
                    {(failure) => <Failed failure={failure()} onRetry={() => calls.reload()} />}
                  </Show>
                }
              >
                <Show when={calls.items().length > 0} fallback={<Empty title="No calls">This session has messages, but none belongs to a call.</Empty>}>
                  <div class="grid-frame">
                    <CallGrid
                      caption="Calls of this session, newest first"
                      calls={calls.items()}
                      href={(call) => callHref(call.call_id)}
                      onOpen={(call) => navigate(callHref(call.call_id))}
                    />
                  </div>
                  <MoreButton pager={calls} one="call" />
                </Show>
              </Show>
            </section>
          </>
        )}
      </Show>
      <CreateLink open={sharing()} target={{ correlation_id: props.correlationId }} onClose={() => setSharing(false)} />
    </div>
  );
}
