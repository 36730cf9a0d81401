import { createEffect, createSignal, type JSX, Match, Show, Switch } from 'solid-js';

import type { ListedCall, CustomerView } from '../shared/api/types';
import { CallGrid } from '../shared/call/CallGrid';
import { CallView } from '../shared/call/CallView';
import { dateTime, exactTime, relative, zone } from '../shared/format';
import { createLoad, createPager } from '../shared/load';
import { SessionSummary } from '../shared/session/SessionSummary';
import { MoreButton } from '../shared/ui/MoreButton';
import { Empty, Failed, Loading } from '../shared/ui/States';
import { exportHref, fetchCall, fetchCalls, fetchLinkedCall, fetchSession, fetchView } from './api';

import './customer.css';

/** What one link shows: a call, or a session's calls. */
export function App(): JSX.Element {
  const view = createLoad(() => true, (_, signal) => fetchView(signal));
  return (
    <div class="customer">
      <main class="customer-main">
        <Show
          when={view.value()}
          fallback={
            <Show when={view.failure()} fallback={<Loading what="trace" />}>
              {(failure) => <Failed failure={failure()} onRetry={view.reload} />}
            </Show>
          }
        >
          {(found) => (
            <Show when={found().kind === 'session'} fallback={<LinkedCall />}>
              <LinkedSession view={found()} />
            </Show>
          )}
        </Show>
      </main>
      <Show when={view.value()}>
        {(found) => (
          <footer class="customer-foot">
            <span title={exactTime(found().expires_at)}>
              Link valid until {dateTime(found().expires_at)} ({relative(found().expires_at)})
            </span>
            <Show when={found().since ?? found().until}>
              <span>
                Shows only {found().since ? `from ${dateTime(found().since ?? '')} ` : ''}
                {found().until ? `until ${dateTime(found().until ?? '')}` : ''}
              </span>
            </Show>
            <span>Times in {zone()}</span>
          </footer>
        )}
      </Show>
    </div>
  );
}

const files = (callId?: string) => [
  { label: 'PCAP', href: exportHref('pcap', callId) },
  { label: 'Text', href: exportHref('text', callId) },
];

function LinkedCall(): JSX.Element {
  const call = createLoad(() => true, (_, signal) => fetchLinkedCall(signal));
  return (
    <Show
      when={call.value()}
      fallback={
        <Show when={call.failure()} fallback={<Loading what="call" />}>
          {(failure) => <Failed failure={failure()} onRetry={call.reload} />}
        </Show>
      }
    >
      {(found) => <CallView call={found()} exports={files()} />}
    </Show>
  );
}

function LinkedSession(props: { view: CustomerView }): JSX.Element {
  const session = createLoad(() => true, (_, signal) => fetchSession(signal));
  const calls = createPager<true, ListedCall>(() => true, (_, cursor, signal) => fetchCalls(cursor, signal));
  // A call is a step within this page: the address, which carries the token, stays as it is.
  const [callId, setCallId] = createSignal<string | null>(null);
  const call = createLoad(callId, fetchCall);
  let heading: HTMLHeadingElement | undefined;
  let opened: HTMLDivElement | undefined;

  createEffect((before: string | null | undefined) => {
    const now = callId();
    if (before !== undefined) {
      scrollTo(0, 0);
      (now === null ? heading : opened)?.focus();
    }
    return now;
  }, undefined);

  return (
    <>
      <div class="customer-session" hidden={callId() !== null}>
        <header class="page-head">
          <div class="page-title">
            <h1 ref={heading} tabindex="-1">
              <span class="quiet">Session</span>
              <span class="party" title={props.view.correlation_id ?? ''}>{props.view.correlation_id}</span>
            </h1>
          </div>
        </header>
        <Show
          when={session.value()}
          fallback={
            <Show when={session.failure()} fallback={<Loading what="session" />}>
              {(failure) => <Failed failure={failure()} onRetry={session.reload} />}
            </Show>
          }
        >
          {(found) => <SessionSummary session={found()} />}
        </Show>
        <section class="panel">
          <header class="panel-head">
            <h2>Calls</h2>
          </header>
          <Switch fallback={<Loading what="calls" />}>
            <Match when={calls.ready() && calls.items().length === 0}>
              <Empty title="No calls">This session has no calls that may be shown.</Empty>
            </Match>
            <Match when={calls.ready()}>
              <div class="grid-frame">
                <CallGrid
                  caption="Calls of this session, newest first"
                  calls={calls.items()}
                  href={() => '#call'}
                  onOpen={(one) => setCallId(one.call_id)}
                />
              </div>
              <MoreButton pager={calls} one="call" />
            </Match>
            <Match when={calls.failure()}>{(failure) => <Failed failure={failure()} onRetry={() => calls.reload()} />}</Match>
          </Switch>
        </section>
      </div>
      <Show when={callId()}>
        <div class="customer-call" ref={opened} tabindex="-1">
          <button type="button" class="button customer-back" onClick={() => setCallId(null)}>
            ← All calls of this session
          </button>
          <Switch fallback={<Loading what="call" />}>
            <Match when={call.value()}>{(found) => <CallView call={found()} exports={files(found().call_id)} />}</Match>
            <Match when={call.failure()}>{(failure) => <Failed failure={failure()} onRetry={call.reload} />}</Match>
          </Switch>
        </div>
      </Show>
    </>
  );
}
