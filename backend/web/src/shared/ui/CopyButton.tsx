import { createSignal, type JSX, onCleanup, Show } from 'solid-js';

import { copyText } from '../clipboard';
import { Icon } from './Icon';

export interface CopyButtonProps {
  text: string;
  /** Words on the button; without them only the icon is shown. */
  label?: string;
  /** What is copied, for those who do not see the place of the button. */
  what: string;
}

export function CopyButton(props: CopyButtonProps): JSX.Element {
  const [state, setState] = createSignal<'idle' | 'copied' | 'refused'>('idle');
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  const copy = async (event: MouseEvent) => {
    event.stopPropagation();
    setState((await copyText(props.text)) ? 'copied' : 'refused');
    clearTimeout(timer);
    timer = setTimeout(() => setState('idle'), 1800);
  };
  const said = () => (state() === 'copied' ? 'Copied' : state() === 'refused' ? 'Not allowed' : (props.label ?? ''));
  return (
    <button
      type="button"
      class="button"
      classList={{ 'icon-only': !props.label, bare: !props.label }}
      title={`Copy ${props.what}`}
      aria-label={state() === 'idle' ? `Copy ${props.what}` : said()}
      onClick={(event) => void copy(event)}
    >
      <Icon name={state() === 'copied' ? 'check' : state() === 'refused' ? 'warning' : 'copy'} />
      <Show when={props.label}>
        <span>{said()}</span>
      </Show>
      <span class="off-screen" aria-live="polite">
        {state() === 'idle' ? '' : said()}
      </span>
    </button>
  );
}
