import { createMemo, For, type JSX } from 'solid-js';

import { tokenize } from './tokens';

import './message.css';

/** The message as it was on the wire, coloured. Every word is a text node; nothing of it is ever markup. */
export function RawMessage(props: { raw: string; wrap: boolean }): JSX.Element {
  const lines = createMemo(() => tokenize(props.raw));
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
