import { For, type JSX, Show } from 'solid-js';

import type { Message } from '../../shared/api/types';
import { clock, exactTime, shortDay, size } from '../../shared/format';
import { tone } from '../../shared/ladder/model';
import { messageTitle } from '../../shared/message/title';
import { moveFocus } from '../../shared/ui/rows';
import { callHref } from '../routes';

export interface MessageGridProps {
  messages: Message[];
  onOpen: (message: Message) => void;
}

/** Messages as rows, valid or not. */
export function MessageGrid(props: MessageGridProps): JSX.Element {
  const open = (event: MouseEvent, message: Message) => {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if ((event.target as Element).closest('a:not(.row-link)') || String(getSelection() ?? '') !== '') return;
    event.preventDefault();
    props.onOpen(message);
  };
  return (
    <table class="grid grid-messages">
      <caption class="off-screen">Messages found, newest first</caption>
      <thead>
        <tr>
          <th scope="col" class="col-time">Time</th>
          <th scope="col" class="col-message">Message</th>
          <th scope="col">From → To</th>
          <th scope="col" class="col-path">Source → Destination</th>
          <th scope="col" class="col-short">Transport</th>
          <th scope="col" class="col-count right">Agent</th>
          <th scope="col" class="col-call-id">Call-ID</th>
          <th scope="col" class="col-short col-size right">Size</th>
        </tr>
      </thead>
      <tbody onKeyDown={moveFocus}>
        <For each={props.messages}>
          {(message) => (
            <tr onClick={(event) => open(event, message)}>
              <td class="cell-time" title={exactTime(message.captured_at)}>
                <a
                  class="row-link"
                  href={message.call_id ? `${callHref(message.call_id)}?message=${encodeURIComponent(message.id)}` : '#'}
                  aria-label={`${messageTitle(message)} at ${clock(message.captured_at)}`}
                >
                  <span class="cell-day">{shortDay(message.captured_at)}</span> {clock(message.captured_at)}
                </a>
              </td>
              <td
                class="cell-message"
                colSpan={message.kind === 'other' ? 2 : 1}
                data-message={tone(message)}
                title={messageTitle(message)}
              >
                {messageTitle(message)}
              </td>
              <Show when={message.kind !== 'other'}>
                <td class="cell-parties">
                  <Show when={message.from_user ?? message.to_user} fallback={<span class="quiet">–</span>}>
                    {message.from_user ?? '–'}
                    <span class="arrow" aria-label="to">→</span>
                    {message.to_user ?? '–'}
                  </Show>
                </td>
              </Show>
              <td class="cell-path" title={`${message.src} → ${message.dst}`}>
                {message.src} <span class="quiet">→</span> {message.dst}
              </td>
              <td>{message.transport.toUpperCase()}</td>
              <td class="cell-number" title={message.agent_name ?? undefined}>{message.agent_id}</td>
              <td class="cell-call-id" title={message.call_id ?? undefined}>{message.call_id ?? <span class="quiet">none</span>}</td>
              <td class="cell-number col-size">{size(message.size_bytes)}</td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}
