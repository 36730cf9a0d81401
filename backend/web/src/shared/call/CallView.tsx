import { createEffect, createMemo, createSignal, For, type JSX, on, Show } from 'solid-js';

import type { Call } from '../api/types';
import { saveFile } from '../clipboard';
import { clock, count, dateTime, day, duration, exactTime, shortZone, zone } from '../format';
import { Ladder } from '../ladder/Ladder';
import { type Grouping, ladderModel, withoutNotes } from '../ladder/model';
import { ladderPicture, pngFile, svgFile } from '../ladder/picture';
import { MessagePane } from '../message/MessagePane';
import { CopyButton } from '../ui/CopyButton';
import { Icon } from '../ui/Icon';
import { Empty } from '../ui/States';
import { OutcomeMark } from './OutcomeMark';
import { parties } from './outcome';

import './call.css';

/** As in call.css. */
const NARROW = '(max-width: 900px)';

export interface CallViewProps {
  call: Call;
  /** Files to download: words and address. */
  exports: { label: string; href: string }[];
  /** Address of a session's page; without it sessions are named, not linked. */
  sessionHref?: (correlationId: string) => string;
  /** Further buttons beside the exports. */
  actions?: JSX.Element;
  /** Message to select first. */
  messageId?: string | null;
  onMessage?: (id: string) => void;
}

/** A call: what became of it, its ladder, and the message one points at. */
export function CallView(props: CallViewProps): JSX.Element {
  const [grouping, setGrouping] = createSignal<Grouping>('port');
  const [notes, setNotes] = createSignal(true);
  const [times, setTimes] = createSignal<'clock' | 'offset'>('clock');
  const [selected, setSelected] = createSignal(-1);
  // Where the window is narrow the message lies over the lower half, and the ladder moves to the upper one.
  const [sheetOpen, setSheetOpen] = createSignal(false);
  let ladderPanel: HTMLElement | undefined;
  const events = () => props.call.messages.length - props.call.message_count;
  const ladder = createMemo(() => (notes() ? props.call.ladder : withoutNotes(props.call.ladder)));
  const model = createMemo(() => ladderModel(ladder(), props.call.messages, grouping()));
  const message = () => {
    const row = model().rows[selected()];
    return row && props.call.messages[row.message];
  };
  const groupable = () => new Set(ladderModel(props.call.ladder, props.call.messages, 'address').hosts).size > 1;

  createEffect(
    on(
      () => props.call.call_id,
      () => {
        const wanted = props.call.messages.findIndex((one) => one.id === props.messageId);
        const row = wanted < 0 ? 0 : model().rows.findIndex((one) => one.message === wanted);
        setSelected(Math.max(row, 0));
        setSheetOpen(wanted >= 0);
      },
    ),
  );

  const showNotes = (shown: boolean) => {
    const kept = message()?.id;
    setNotes(shown);
    setSelected(Math.max(model().rows.findIndex((row) => props.call.messages[row.message]?.id === kept), 0));
  };
  const select = (row: number, how: 'move' | 'open') => {
    setSelected(row);
    if (how === 'open') {
      setSheetOpen(true);
      if (matchMedia(NARROW).matches) ladderPanel?.scrollIntoView({ block: 'start' });
    }
    const shown = message();
    if (shown) props.onMessage?.(shown.id);
  };
  const step = (by: -1 | 1) => {
    const next = selected() + by;
    if (next >= 0 && next < model().rows.length) select(next, 'move');
  };

  const title = () => `${parties(props.call).from} → ${parties(props.call).to}`;
  const pictureTitle = () => `${title()}   ${props.call.call_id}   ${dateTime(props.call.first_seen)} (${zone(new Date(props.call.first_seen))})`;
  const fileName = (ending: string) => `${props.call.call_id.replace(/[^\w.@-]+/g, '_').slice(0, 80)}.${ending}`;
  const saveSvg = () => saveFile(svgFile(ladderPicture(model(), pictureTitle())), fileName('svg'));
  const savePng = async () => saveFile(await pngFile(ladderPicture(model(), pictureTitle())), fileName('png'));

  return (
    <div class="call">
      <header class="page-head">
        <div class="page-title">
          <h1 title={title()}>
            <span class="party">{parties(props.call).from}</span>
            <span class="arrow" aria-label="to">→</span>
            <span class="party">{parties(props.call).to}</span>
          </h1>
          <OutcomeMark call={props.call} large />
        </div>
        <div class="toolbar">
          <For each={props.exports}>
            {(file) => (
              <a class="button" href={file.href} download="">
                <Icon name="download" />
                <span>{file.label}</span>
              </a>
            )}
          </For>
          {props.actions}
        </div>
      </header>

      <Facts call={props.call} sessionHref={props.sessionHref} />
      <Show when={props.call.partial}>
        <p class="notice notice-warn rounded" role="status">
          Not all of this call could be read. What is shown is right, but there may be more.
        </p>
      </Show>

      <div class="workspace" classList={{ 'sheet-open': sheetOpen() }}>
        <section class="panel ladder-panel" aria-label="Ladder" ref={ladderPanel}>
          <header class="panel-head">
            <h2>Ladder</h2>
            <div class="toolbar">
              <Show when={groupable() || grouping() === 'address'}>
                <div class="switch" role="group" aria-label="Columns">
                  <button type="button" aria-pressed={grouping() === 'port'} onClick={() => setGrouping('port')}>
                    IP:port
                  </button>
                  <button type="button" aria-pressed={grouping() === 'address'} onClick={() => setGrouping('address')}>
                    IP
                  </button>
                </div>
              </Show>
              <Show when={events() > 0}>
                <label class="check small" title="Log lines and reports of this call">
                  <input type="checkbox" checked={notes()} onChange={(event) => showNotes(event.currentTarget.checked)} />
                  {events() === 1 ? '1 event' : `${count(events())} events`}
                </label>
              </Show>
              <div class="switch" role="group" aria-label="Times">
                <button type="button" aria-pressed={times() === 'clock'} onClick={() => setTimes('clock')}>
                  Clock
                </button>
                <button type="button" aria-pressed={times() === 'offset'} onClick={() => setTimes('offset')}>
                  Offset
                </button>
              </div>
              <Show when={model().rows.length > 0}>
                <div class="toolbar pictures">
                  <button type="button" class="button" title="Save the ladder as a picture (SVG)" onClick={saveSvg}>
                    SVG
                  </button>
                  <button type="button" class="button" title="Save the ladder as a picture (PNG)" onClick={() => void savePng()}>
                    PNG
                  </button>
                </div>
              </Show>
            </div>
          </header>
          <Show
            when={model().rows.length > 0}
            fallback={<Empty title="No messages">Nothing of this call is stored, or it lies outside of what may be shown.</Empty>}
          >
            <Ladder model={model()} messages={props.call.messages} times={times()} selected={selected()} onSelect={select} />
          </Show>
        </section>
        <Show when={message()}>
          {(shown) => (
            <section class="panel sheet">
              <MessagePane
                message={shown()}
                place={`${selected() + 1} of ${model().rows.length}`}
                onStep={step}
                onClose={() => setSheetOpen(false)}
              />
            </section>
          )}
        </Show>
      </div>
    </div>
  );
}

function Facts(props: { call: Call; sessionHref: ((id: string) => string) | undefined }): JSX.Element {
  return (
    <dl class="facts">
      <Fact name="Started" kind="time" title={exactTime(props.call.first_seen)}>
        {day(props.call.first_seen)} {clock(props.call.first_seen)}
        <span class="fact-note">{shortZone(new Date(props.call.first_seen))}</span>
      </Fact>
      <Fact name="Setup">{duration(props.call.setup_time_ms)}</Fact>
      <Fact name="Ring">{duration(props.call.ring_time_ms)}</Fact>
      <Fact name="Duration">{duration(props.call.duration_ms)}</Fact>
      <Fact name="Messages">{count(props.call.message_count)}</Fact>
      <Fact name="Transport" kind="minor">{props.call.transports.join(', ').toUpperCase() || '–'}</Fact>
      <Fact name="Agent" kind="minor">{props.call.agent_ids.join(', ') || '–'}</Fact>
      <Fact name="Call-ID" kind="wide" title={props.call.call_id}>
        <span class="clip">{props.call.call_id}</span>
        <CopyButton text={props.call.call_id} what="Call-ID" />
      </Fact>
      <Show when={props.call.correlation_ids.length > 0}>
        <Fact name={props.call.correlation_ids.length === 1 ? 'Session' : 'Sessions'} kind="wide">
          <For each={props.call.correlation_ids}>
            {(id) => (
              <Show when={props.sessionHref} fallback={<span class="clip" title={id}>{id}</span>}>
                {(href) => (
                  <a class="clip" href={href()(id)} title={id}>
                    {id}
                  </a>
                )}
              </Show>
            )}
          </For>
        </Fact>
      </Show>
    </dl>
  );
}

interface FactProps {
  name: string;
  title?: string;
  /** Decides on its room: ids and times need more, what is minor goes first where there is little. */
  kind?: 'time' | 'wide' | 'minor';
  children: JSX.Element;
}

function Fact(props: FactProps): JSX.Element {
  return (
    <div class="fact" classList={{ [`fact-${props.kind ?? 'plain'}`]: true, mono: props.kind === 'wide' }}>
      <dt>{props.name}</dt>
      <dd title={props.title}>{props.children}</dd>
    </div>
  );
}
