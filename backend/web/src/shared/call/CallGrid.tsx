import { For, type JSX, Show } from 'solid-js';

import type { ListedCall } from '../api/types';
import { clock, count, duration, exactTime, shortDay } from '../format';
import { hostsText } from './hosts';
import { OutcomeMark } from './OutcomeMark';
import { parties } from './outcome';
import { moveFocus } from '../ui/rows';

export interface CallGridProps {
  calls: ListedCall[];
  href: (call: ListedCall) => string;
  /** Takes the place of following the link; leave out to let the browser follow it. */
  onOpen?: (call: ListedCall) => void;
  /** Address of a session's page; without it no session is shown. */
  sessionHref?: (correlationId: string) => string;
  caption: string;
}

/** Calls as rows; below a certain width as cards. */
export function CallGrid(props: CallGridProps): JSX.Element {
  const open = (event: MouseEvent, call: ListedCall) => {
    // Links within the row, text being selected, and "open in a new tab" keep their own meaning.
    const target = event.target as Element;
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (target.closest('a:not(.row-link), button') || String(getSelection() ?? '') !== '') return;
    event.preventDefault();
    if (props.onOpen) props.onOpen(call);
    else location.assign(props.href(call));
  };
  return (
    <table class="grid grid-calls">
      <caption class="off-screen">{props.caption}</caption>
      <thead>
        <tr>
          <th scope="col" class="col-time">Time</th>
          <th scope="col" class="col-outcome">Outcome</th>
          <th scope="col">From → To</th>
          <th scope="col" class="col-request">Request</th>
          <th scope="col" class="col-short col-setup right">Setup</th>
          <th scope="col" class="col-short col-ring right">Ring</th>
          <th scope="col" class="col-short right">Duration</th>
          <th scope="col" class="col-count right" title="Messages">Msgs</th>
          <Show when={props.sessionHref}>
            <th scope="col" class="col-session">Session</th>
          </Show>
          <th scope="col" class="col-hosts">Hosts</th>
        </tr>
      </thead>
      <tbody onKeyDown={moveFocus}>
        <For each={props.calls}>
          {(call) => (
            <tr onClick={(event) => open(event, call)}>
              <td class="cell-time" title={exactTime(call.listed_at)}>
                <a class="row-link" href={props.href(call)} aria-label={`Call ${call.call_id} at ${clock(call.listed_at)}`}>
                  <span class="cell-day">{shortDay(call.listed_at)}</span> {clock(call.listed_at)}
                </a>
              </td>
              <td class="cell-outcome">
                <OutcomeMark call={call} />
              </td>
              <td class="cell-parties">
                <span title={parties(call).from}>{parties(call).from}</span>
                <span class="arrow" aria-label="to">→</span>
                <span title={parties(call).to}>{parties(call).to}</span>
              </td>
              <td class="cell-request" title={`${call.method ?? ''} ${call.request_uri ?? ''}\nCall-ID ${call.call_id}`}>
                <b>{call.method ?? '–'}</b> <span class="quiet">{call.request_uri}</span>
              </td>
              <td class="cell-number col-setup" data-name="Setup">{duration(call.setup_time_ms)}</td>
              <td class="cell-number col-ring" data-name="Ring">{duration(call.ring_time_ms)}</td>
              <td class="cell-number" data-name="Duration">{duration(call.duration_ms)}</td>
              <td class="cell-number" data-name="Messages">{count(call.message_count)}</td>
              <Show when={props.sessionHref}>
                {(href) => (
                  <td class="cell-session">
                    <div class="session-links">
                      <For each={call.correlation_ids.slice(0, 1)}>
                        {(id) => (
                          <a class="clip" href={href()(id)} title={`Session ${id}`}>
                            {id}
                          </a>
                        )}
                      </For>
                      <Show when={call.correlation_ids.length > 1}>
                        <span class="quiet" title={call.correlation_ids.join('\n')}>+{call.correlation_ids.length - 1}</span>
                      </Show>
                    </div>
                  </td>
                )}
              </Show>
              <td class="cell-hosts" title={`${call.hosts.join('\n')}\n${call.transports.join(', ').toUpperCase()}`}>
                {hostsText(call.hosts)}
              </td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}
