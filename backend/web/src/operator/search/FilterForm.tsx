import { createEffect, createSignal, createUniqueId, For, type JSX, on, Show } from 'solid-js';

import type { Kind, Transport } from '../../shared/api/types';
import { zone } from '../../shared/format';
import { Icon } from '../../shared/ui/Icon';
import {
  DEFAULT_SINCE,
  type FilterName,
  FILTER_WORDS,
  fromLocalField,
  isAbsolute,
  mistake,
  RANGES,
  type Search,
  toLocalField,
} from './query';

const METHODS = ['INVITE', 'REGISTER', 'OPTIONS', 'MESSAGE', 'SUBSCRIBE', 'NOTIFY', 'REFER', 'PUBLISH', 'ACK', 'BYE', 'CANCEL', 'PRACK', 'UPDATE', 'INFO'];
const TRANSPORTS: Transport[] = ['udp', 'tcp', 'tls', 'sctp', 'ws', 'wss'];
const KINDS: [Kind, string][] = [
  ['request', 'Requests'],
  ['reply', 'Replies'],
  ['malformed', 'Malformed SIP'],
  ['other', 'Events'],
];

export interface FilterFormProps {
  search: Search;
  onSearch: (search: Search) => void;
}

/** What to look for. A draft until it is submitted, so that typing asks nothing. */
export function FilterForm(props: FilterFormProps): JSX.Element {
  const [draft, setDraft] = createSignal<Search>(props.search);
  const [custom, setCustom] = createSignal(false);
  const [problem, setProblem] = createSignal<string | null>(null);

  createEffect(
    on(
      () => props.search,
      (search) => {
        setDraft(search);
        setCustom(search.until !== null || (search.since !== null && !RANGES.some((range) => range.since === search.since)));
        setProblem(null);
      },
    ),
  );

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const wrong = mistake(draft());
    setProblem(wrong);
    if (wrong === null) props.onSearch(draft());
  };
  const setFilter = (name: FilterName, value: string) =>
    setDraft((search) => ({ ...search, filters: { ...search.filters, [name]: value } }));
  /** Choices take effect at once; typing waits for Enter. */
  const choose = (name: FilterName, value: string) => {
    setFilter(name, value);
    if (mistake(draft()) === null) props.onSearch(draft());
  };
  const chooseRange = (value: string) => {
    if (value === 'custom') {
      setCustom(true);
      return;
    }
    setCustom(false);
    setDraft((search) => ({ ...search, since: value === 'all' ? null : value, until: null }));
    if (mistake(draft()) === null) props.onSearch(draft());
  };
  const clear = () => props.onSearch({ view: draft().view, filters: {}, since: DEFAULT_SINCE, until: null });

  const text = (name: FilterName, placeholder: string, mono = false) => (
    <label class="field">
      <span>{FILTER_WORDS[name]}</span>
      <input
        class="input"
        classList={{ mono }}
        name={name}
        value={draft().filters[name] ?? ''}
        placeholder={placeholder}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        onInput={(event) => setFilter(name, event.currentTarget.value)}
      />
    </label>
  );
  const pick = (name: FilterName, choices: [string, string][]) => (
    <label class="field">
      <span>{FILTER_WORDS[name]}</span>
      <select class="input" name={name} value={draft().filters[name] ?? ''} onChange={(event) => choose(name, event.currentTarget.value)}>
        <option value="">Any</option>
        <For each={choices}>{([value, words]) => <option value={value}>{words}</option>}</For>
      </select>
    </label>
  );
  const methods = createUniqueId();

  return (
    <form class="filters" aria-label="Search" onSubmit={submit}>
      <fieldset>
        <legend>Time</legend>
        <label class="field">
          <span class="off-screen">Time range</span>
          <select
            class="input"
            name="range"
            value={custom() ? 'custom' : (draft().since ?? 'all')}
            onChange={(event) => chooseRange(event.currentTarget.value)}
          >
            <For each={RANGES}>{(range) => <option value={range.since}>{range.words}</option>}</For>
            <option value="all">All times</option>
            <option value="custom">Custom range</option>
          </select>
        </label>
        <Show when={custom()}>
          <TimeField
            words="From"
            value={draft().since}
            onChange={(since) => setDraft((search) => ({ ...search, since }))}
          />
          <TimeField
            words="To"
            value={draft().until}
            onChange={(until) => setDraft((search) => ({ ...search, until }))}
          />
          <p class="hint">Zone: {zone()}</p>
        </Show>
      </fieldset>
      <fieldset>
        <legend>Call</legend>
        {text('call_id', 'exact Call-ID', true)}
        {text('correlation_id', 'exact session id', true)}
      </fieldset>
      <fieldset class="pairs">
        <legend>Parties</legend>
        {text('from_user', 'alice')}
        {text('to_user', '+4930…')}
        {text('request_user', '+4930…')}
        {text('user_agent', 'part of it')}
      </fieldset>
      <fieldset class="pairs">
        <legend>Message</legend>
        <label class="field">
          <span>{FILTER_WORDS.method}</span>
          <input
            class="input"
            name="method"
            list={methods}
            value={draft().filters.method ?? ''}
            placeholder="INVITE"
            autocomplete="off"
            spellcheck={false}
            onInput={(event) => setFilter('method', event.currentTarget.value)}
          />
          <datalist id={methods}>
            <For each={METHODS}>{(method) => <option value={method} />}</For>
          </datalist>
        </label>
        {text('status', '486 or 4xx')}
        <div class="whole">{pick('kind', KINDS)}</div>
        <div class="whole">{text('header', 'Name: value', true)}</div>
        <div class="whole">{text('contains', 'any text of the message', true)}</div>
      </fieldset>
      <fieldset class="pairs">
        <legend>Network</legend>
        <div class="whole">{text('src', 'IP, IP:port or CIDR', true)}</div>
        <div class="whole">{text('dst', 'IP, IP:port or CIDR', true)}</div>
        {pick('transport', TRANSPORTS.map((name) => [name, name.toUpperCase()]))}
        {text('agent_id', '2001')}
        <div class="whole">{text('tenant', 'exact name')}</div>
      </fieldset>
      <fieldset class="pairs">
        <legend>Event</legend>
        {text('protocol_type', '100 for logs')}
        {text('json', 'path=value', true)}
      </fieldset>
      <Show when={problem()}>
        {(words) => (
          <p class="hint bad" role="alert">
            {words()}
          </p>
        )}
      </Show>
      <div class="filters-buttons">
        <button type="submit" class="button primary">
          <Icon name="search" />
          <span>Search</span>
        </button>
        <button type="button" class="button" onClick={clear}>
          Clear
        </button>
      </div>
    </form>
  );
}

function TimeField(props: { words: string; value: string | null; onChange: (time: string | null) => void }): JSX.Element {
  return (
    <label class="field">
      <span>{props.words}</span>
      <input
        class="input"
        type="datetime-local"
        step="1"
        value={isAbsolute(props.value) ? toLocalField(props.value) : ''}
        onChange={(event) => props.onChange(fromLocalField(event.currentTarget.value))}
      />
    </label>
  );
}
