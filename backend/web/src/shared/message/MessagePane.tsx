import { createSignal, type JSX, Show } from 'solid-js';

import type { Message } from '../api/types';
import { clock, day, exactTime, size } from '../format';
import { CopyButton } from '../ui/CopyButton';
import { Icon } from '../ui/Icon';
import { messageTitle } from './title';
import { RawMessage } from './RawMessage';

export interface MessagePaneProps {
  message: Message;
  /** `3 of 7`, when the message is one of a call. */
  place?: string;
  onStep?: (by: -1 | 1) => void;
  onClose?: () => void;
}

/** One message: where it was seen, and its raw text. */
export function MessagePane(props: MessagePaneProps): JSX.Element {
  const [wrap, setWrap] = createSignal(true);
  let body!: HTMLDivElement;
  const step = (by: -1 | 1) => {
    props.onStep?.(by);
    body.scrollTop = 0;
  };
  return (
    <section class="message-pane" aria-label="Selected message">
      <header class="message-head">
        <h2 class="message-title" title={messageTitle(props.message)}>
          {messageTitle(props.message)}
        </h2>
        <div class="toolbar">
          <Show when={props.onStep}>
            <Show when={props.place}>
              <span class="quiet small nowrap">{props.place}</span>
            </Show>
            <button type="button" class="button icon-only" title="Previous message" aria-label="Previous message" onClick={() => step(-1)}>
              <Icon name="up" />
            </button>
            <button type="button" class="button icon-only" title="Next message" aria-label="Next message" onClick={() => step(1)}>
              <Icon name="down" />
            </button>
          </Show>
          <button type="button" class="button icon-only" aria-pressed={wrap()} title="Wrap long lines" aria-label="Wrap long lines" onClick={() => setWrap(!wrap())}>
            <Icon name="wrap" />
          </button>
          <CopyButton text={props.message.raw} label="Copy" what="message" />
          <Show when={props.onClose}>
            <button type="button" class="button icon-only" title="Close" aria-label="Close message" onClick={() => props.onClose?.()}>
              <Icon name="close" />
            </button>
          </Show>
        </div>
      </header>
      <dl class="message-facts">
        <div>
          <dt>Captured</dt>
          <dd title={exactTime(props.message.captured_at)}>
            {day(props.message.captured_at)} {clock(props.message.captured_at)}
          </dd>
        </div>
        <div>
          <dt>Path</dt>
          <dd>
            {props.message.src} → {props.message.dst}
          </dd>
        </div>
        <div>
          <dt>Transport</dt>
          <dd>{props.message.transport.toUpperCase()}</dd>
        </div>
        <Show when={props.message.kind === 'other'}>
          <div>
            <dt>Protocol type</dt>
            <dd>{props.message.protocol_type}</dd>
          </div>
        </Show>
        <div>
          <dt>Agent</dt>
          <dd>{props.message.agent_name ? `${props.message.agent_id} (${props.message.agent_name})` : props.message.agent_id}</dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>
            {size(props.message.size_bytes)}
            <Show when={props.message.full_size_bytes}>{(full) => ` of ${size(full())}`}</Show>
          </dd>
        </div>
      </dl>
      <Show when={props.message.kind === 'malformed'}>
        <p class="notice notice-bad notice-flat">Sent as SIP, but not valid SIP. Shown as it was captured.</p>
      </Show>
      <Show when={props.message.full_size_bytes}>
        <p class="notice notice-bad notice-flat">Its end is missing: the message was too long for one packet, and was cut where it was captured.</p>
      </Show>
      <div class="message-body" ref={body}>
        <RawMessage message={props.message} wrap={wrap()} />
      </div>
    </section>
  );
}
