import { type JSX, Show } from 'solid-js';

import { plural } from '../format';
import type { Pager } from '../load';

/** Below a list: how much of it is shown, and the way to more. */
export function MoreButton<T>(props: { pager: Pager<T>; one: string }): JSX.Element {
  return (
    <div class="more">
      <Show when={props.pager.hasMore()} fallback={<span class="quiet">{plural(props.pager.items().length, props.one)}, no more</span>}>
        <button type="button" class="button" disabled={props.pager.loading()} onClick={() => props.pager.more()}>
          {props.pager.loading() ? 'Loading…' : 'Load more'}
        </button>
        <span class="quiet">{plural(props.pager.items().length, props.one)} shown</span>
      </Show>
      <Show when={props.pager.failure()}>{(failure) => <span class="bad">{failure().message}</span>}</Show>
    </div>
  );
}
