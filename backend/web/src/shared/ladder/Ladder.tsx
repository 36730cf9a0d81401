import { createEffect, createMemo, createSignal, For, type JSX, on, onCleanup, onMount, Show } from 'solid-js';

import type { Message } from '../api/types';
import { clock, delta, exactTime, offsetSeconds } from '../format';
import { layoutLadder, type Row, visibleRows } from './layout';
import { type LadderModel, splitAddress } from './model';

import './ladder.css';

/** Above this many rows only those in view are drawn. */
const DRAW_ALL = 300;
const GUTTER_WIDE = 124;
const GUTTER_NARROW = 100;
const NARROW = 560;

export interface LadderProps {
  model: LadderModel;
  messages: Message[];
  times: 'clock' | 'offset';
  /** Index of the selected row, or -1. */
  selected: number;
  /** `move`: the selection went there with the arrow keys. `open`: click or Enter. */
  onSelect: (row: number, how: 'move' | 'open') => void;
}

/** The ladder: a list box whose options are rows, so that it can be walked by keyboard and read by a screen reader. */
export function Ladder(props: LadderProps): JSX.Element {
  let frame!: HTMLDivElement;
  const [frameWidth, setFrameWidth] = createSignal(720);
  const [scrollTop, setScrollTop] = createSignal(0);
  const [viewHeight, setViewHeight] = createSignal(800);

  const narrow = () => frameWidth() < NARROW;
  const gutter = () => (narrow() ? GUTTER_NARROW : GUTTER_WIDE);
  const layout = createMemo(() =>
    layoutLadder(props.model, { width: frameWidth() - gutter(), minColumn: narrow() ? 118 : 138 }),
  );
  const windowed = () => layout().rows.length > DRAW_ALL;
  const drawn = createMemo((): Row[] => {
    if (!windowed()) return layout().rows;
    const [first, last] = visibleRows(layout(), scrollTop(), viewHeight());
    const rows = layout().rows.slice(first, last);
    // The selected row is always there: it is what the list box names as its active one.
    const selected = layout().rows[props.selected];
    return !selected || rows.includes(selected) ? rows : [...rows, selected];
  });

  onMount(() => {
    const observer = new ResizeObserver(() => {
      const shrunk = frame.clientHeight < viewHeight();
      setFrameWidth(frame.clientWidth);
      setViewHeight(frame.clientHeight);
      if (shrunk && props.selected > 0) reveal(props.selected);
    });
    observer.observe(frame);
    onCleanup(() => observer.disconnect());
  });

  const reveal = (index: number) => {
    const row = layout().rows[index];
    if (!row) return;
    const header = frame.querySelector<HTMLElement>('.ladder-hosts')?.offsetHeight ?? 0;
    const room = frame.clientHeight - header;
    if (row.top < frame.scrollTop) frame.scrollTop = row.top;
    else if (row.top + row.height > frame.scrollTop + room) frame.scrollTop = row.top + row.height - room;
  };
  createEffect(on(() => props.selected, (index) => reveal(index), { defer: true }));

  const onKeyDown = (event: KeyboardEvent) => {
    const last = layout().rows.length - 1;
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const pageful = Math.max(1, Math.floor(viewHeight() / 40) - 2);
    const steps: Record<string, number> = {
      ArrowDown: props.selected + 1,
      ArrowUp: props.selected - 1,
      PageDown: props.selected + pageful,
      PageUp: props.selected - pageful,
      Home: 0,
      End: last,
    };
    const target = steps[event.key];
    if (target !== undefined) {
      event.preventDefault();
      props.onSelect(Math.min(Math.max(target, 0), last), 'move');
    } else if ((event.key === 'Enter' || event.key === ' ') && props.selected >= 0) {
      event.preventDefault();
      props.onSelect(props.selected, 'open');
    }
  };

  const sizes = () => ({
    '--gutter': `${gutter()}px`,
    '--lanes': `${layout().width}px`,
    '--column': `${layout().columnWidth}px`,
  });

  return (
    <div class="ladder" ref={frame} onScroll={() => setScrollTop(frame.scrollTop)} style={sizes()}>
      <div class="ladder-hosts" aria-hidden="true">
        <div class="ladder-corner">{props.times === 'clock' ? 'Time' : 'Seconds'}</div>
        <For each={layout().columns}>{(column) => <HostName address={column.address} />}</For>
      </div>
      <div
        class="ladder-rows"
        role="listbox"
        tabindex="0"
        aria-label={`Ladder of ${layout().rows.length} rows between ${layout().columns.length} hosts`}
        aria-activedescendant={props.selected >= 0 ? rowId(props.selected) : undefined}
        onKeyDown={onKeyDown}
        style={{ height: `${layout().height}px` }}
      >
        <For each={drawn()}>
          {(row) => (
            <LadderRow
              row={row}
              model={props.model}
              message={props.messages[row.message]}
              columns={layout().columns.map((column) => column.x)}
              total={layout().rows.length}
              times={props.times}
              selected={props.selected === row.index}
              onOpen={() => props.onSelect(row.index, 'open')}
            />
          )}
        </For>
      </div>
    </div>
  );
}

const rowId = (index: number) => `ladder-row-${index}`;

function HostName(props: { address: string }): JSX.Element {
  const parts = () => splitAddress(props.address);
  return (
    <div class="ladder-host" title={props.address}>
      <span class="ladder-host-name">{parts().host}</span>
      <Show when={parts().port}>
        <span class="ladder-host-port">:{parts().port}</span>
      </Show>
    </div>
  );
}

interface LadderRowProps {
  row: Row;
  model: LadderModel;
  message: Message | undefined;
  columns: number[];
  total: number;
  times: 'clock' | 'offset';
  selected: boolean;
  onOpen: () => void;
}

function LadderRow(props: LadderRowProps): JSX.Element {
  const source = () => props.model.rows[props.row.index];
  const time = () => {
    const message = props.message;
    if (!message) return '';
    return props.times === 'clock' ? clock(message.captured_at) : offsetSeconds(source()?.offsetMs ?? 0);
  };
  return (
    <div
      id={rowId(props.row.index)}
      class="ladder-row"
      classList={{ selected: props.selected }}
      role="option"
      aria-selected={props.selected}
      aria-posinset={props.row.index + 1}
      aria-setsize={props.total}
      aria-label={spoken(props.row, props.model, props.message)}
      data-tone={props.row.tone}
      data-shape={props.row.shape}
      data-colour={props.row.colour}
      data-retransmission={props.row.retransmission ? '' : undefined}
      style={{ transform: `translateY(${props.row.top}px)`, height: `${props.row.height}px` }}
      onClick={() => props.onOpen()}
    >
      <div class="ladder-times" style={{ 'padding-top': `${props.row.gapHeight}px` }}>
        <Show when={props.row.gap}>
          {(gap) => (
            <span class="ladder-gap" style={{ height: `${props.row.gapHeight}px` }}>
              {gap()} later
            </span>
          )}
        </Show>
        <span class="ladder-time" title={props.message && exactTime(props.message.captured_at)}>
          {time()}
        </span>
        <span class="ladder-delta">{props.row.index === 0 ? '' : `+${delta(source()?.deltaMs ?? 0)}`}</span>
      </div>
      <svg class="ladder-lanes" height={props.row.height} aria-hidden="true">
        <For each={props.columns}>
          {(x) => (
            <>
              <line class="lane" x1={x} x2={x} y1={props.row.gapHeight} y2={props.row.height} />
              <Show when={props.row.gap}>
                <line class="lane lane-gap" x1={x} x2={x} y1="0" y2={props.row.gapHeight} />
              </Show>
            </>
          )}
        </For>
        <path class="arrow-line" d={props.row.line} />
        <Show when={props.row.head}>
          <polygon class="arrow-head" points={props.row.head} />
        </Show>
        <text
          class="arrow-label"
          x={props.row.label.x}
          y={props.row.label.y}
          text-anchor={props.row.label.anchor}
        >
          <tspan>{props.row.label.text}</tspan>
          <tspan class="arrow-detail">{props.row.label.detail}</tspan>
        </text>
        <title>{hover(props.row, props.model)}</title>
      </svg>
    </div>
  );
}

function hover(row: Row, model: LadderModel): string {
  const source = model.rows[row.index];
  if (!source) return '';
  const words = [source.label, ...source.details];
  if (source.retransmission) words.push('retransmission');
  return words.join(' · ');
}

/** A row in words, for those who do not see it. */
function spoken(row: Row, model: LadderModel, message: Message | undefined): string {
  const source = model.rows[row.index];
  if (!source) return '';
  const words = [
    message ? clock(message.captured_at) : '',
    [source.label, ...source.details].join(' '),
    source.kind === 'note'
      ? 'event'
      : `from ${model.hosts[source.from] ?? 'unknown'} to ${model.hosts[source.to] ?? 'unknown'}`,
  ];
  if (source.retransmission) words.push('retransmission');
  if (row.gap) words.push(`after a pause of ${row.gap}`);
  return words.filter(Boolean).join(', ');
}
