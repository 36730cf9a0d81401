import { createMemo, For, type JSX } from 'solid-js';

import type { Message } from '../api/types';
import { plainLines, tokenize } from './tokens';

import './message.css';

/** The message as it was on the wire, coloured if it is SIP. Every word is a text node; nothing of it is ever markup. */
export function RawMessage(props: { message: Message; wrap: boolean }): JSX.Element {
  const lines = createMemo(() =>
    props.message.kind === 'other'
      ? plainLines(props.message.raw, props.message.raw_base64)
      : tokenize(props.message.raw),
  );
  return (
    <pre class="raw" classList={{ 'raw-wrap': props.wrap }} tabindex="0" aria-label="Message as captured">
      <For each={lines()}>
        {(line) => (
          <span class="raw-line">
            <For each={line}>{(token) => <span class={`t-${token.kind}`}>{token.text}</span>}</For>
            {'\n'}
          </span>
        )}
      </For>
    </pre>
  );
}
