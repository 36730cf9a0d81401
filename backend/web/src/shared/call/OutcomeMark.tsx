import { type JSX, Show } from 'solid-js';

import type { CallSummary } from '../api/types';
import { outcomeOf } from './outcome';

/** The outcome as words on a tint: never colour alone. */
export function OutcomeMark(props: { call: Pick<CallSummary, 'outcome' | 'final_status'>; large?: boolean }): JSX.Element {
  return (
    <span class="pill" classList={{ 'pill-large': props.large ?? false }} data-tone={outcomeOf(props.call.outcome).tone}>
      {outcomeOf(props.call.outcome).words}
      <Show when={props.call.final_status}>
        <span class="pill-status">{props.call.final_status}</span>
      </Show>
    </span>
  );
}
