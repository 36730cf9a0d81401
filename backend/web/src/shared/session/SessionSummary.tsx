import { For, type JSX, Show } from 'solid-js';

import type { Session } from '../api/types';
import { outcomeOf, type OutcomeTone, responseTone } from '../call/outcome';
import { clock, count, day, duration, exactTime, shortZone } from '../format';
import { reasonOf } from './reasons';

import './session.css';

/** A session in figures: how much, from when to when, and how its calls ended. */
export function SessionSummary(props: { session: Session }): JSX.Element {
  const span = () => new Date(props.session.last_seen).getTime() - new Date(props.session.first_seen).getTime();
  const outcomes = (): Bar[] =>
    Object.entries(props.session.outcomes)
      .map(([name, calls]) => ({ name: outcomeOf(name).words, tone: outcomeOf(name).tone, calls }))
      .sort((a, b) => b.calls - a.calls);
  const responses = (): Bar[] =>
    Object.entries(props.session.responses)
      .map(([code, calls]) => ({ name: code, detail: reasonOf(Number(code)), tone: responseTone(Number(code)), calls }))
      .sort((a, b) => b.calls - a.calls || Number(a.name) - Number(b.name));
  return (
    <div class="session-summary">
      <dl class="facts">
        <div class="fact">
          <dt>Calls</dt>
          <dd>{count(props.session.calls)}</dd>
        </div>
        <div class="fact">
          <dt>Messages</dt>
          <dd>{count(props.session.messages)}</dd>
        </div>
        <Show when={props.session.events > 0}>
          <div class="fact">
            <dt>Events</dt>
            <dd>{count(props.session.events)}</dd>
          </div>
        </Show>
        <div class="fact">
          <dt>Span</dt>
          <dd>{duration(span())}</dd>
        </div>
        <div class="fact fact-time">
          <dt>First message</dt>
          <dd title={exactTime(props.session.first_seen)}>
            {day(props.session.first_seen)} {clock(props.session.first_seen)}
            <span class="fact-note">{shortZone(new Date(props.session.first_seen))}</span>
          </dd>
        </div>
        <div class="fact fact-time">
          <dt>Last message</dt>
          <dd title={exactTime(props.session.last_seen)}>
            {day(props.session.last_seen)} {clock(props.session.last_seen)}
            <span class="fact-note">{shortZone(new Date(props.session.last_seen))}</span>
          </dd>
        </div>
      </dl>
      <Show when={props.session.partial}>
        <p class="notice notice-warn rounded" role="status">
          Not all of this session could be read. What is counted is right, but there may be more.
        </p>
      </Show>
      <div class="session-bars">
        <Bars title="Calls by outcome" bars={outcomes()} />
        <Bars title="Calls by final response" bars={responses()} />
      </div>
    </div>
  );
}

interface Bar {
  name: string;
  detail?: string;
  tone: OutcomeTone;
  calls: number;
}

function Bars(props: { title: string; bars: Bar[] }): JSX.Element {
  const total = () => props.bars.reduce((sum, bar) => sum + bar.calls, 0);
  const share = (bar: Bar) => (total() === 0 ? 0 : (100 * bar.calls) / total());
  return (
    <section class="panel bars">
      <h2>{props.title}</h2>
      <Show when={props.bars.length > 0} fallback={<p class="quiet small">None yet.</p>}>
        <ul>
          <For each={props.bars}>
            {(bar) => (
              <li data-tone={bar.tone}>
                <span class="bar-name">
                  {bar.name} <span class="quiet">{bar.detail}</span>
                </span>
                <span class="bar-track" aria-hidden="true">
                  <span class="bar-fill" style={{ width: `${Math.max(share(bar), 0.6)}%` }} />
                </span>
                <span class="bar-count">{count(bar.calls)}</span>
                <span class="bar-share">{share(bar) < 10 && share(bar) > 0 ? share(bar).toFixed(1) : Math.round(share(bar))} %</span>
              </li>
            )}
          </For>
        </ul>
      </Show>
    </section>
  );
}
