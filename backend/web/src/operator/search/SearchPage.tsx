import { createEffect, createMemo, createSignal, For, type JSX, onCleanup, Show } from 'solid-js';

import type { ListedCall, Message } from '../../shared/api/types';
import { CallGrid } from '../../shared/call/CallGrid';
import { dateTime, shortZone, zone } from '../../shared/format';
import { createPager, type Pager } from '../../shared/load';
import { MessagePane } from '../../shared/message/MessagePane';
import { Dialog } from '../../shared/ui/Dialog';
import { Icon } from '../../shared/ui/Icon';
import { MoreButton } from '../../shared/ui/MoreButton';
import { Empty, Failed, Loading } from '../../shared/ui/States';
import { fetchCalls, fetchMessages } from '../api';
import { navigate } from '../router';
import { callHref, sessionHref } from '../routes';
import { FilterForm } from './FilterForm';
import { MessageGrid } from './MessageGrid';
import { apiQuery, askable, FILTER_WORDS, type FilterName, FILTERS, forCalls, parseSearch, rangeWords, type Search, searchedShare, searchHref } from './query';

import './search.css';

const REFRESH_MS = 5000;
const PAGE = 100;

/** `query` is the page's own; it stays what it was while another page is in front. */
export function SearchPage(props: { query: string; shown: boolean }): JSX.Element {
  const search = createMemo(() => parseSearch(props.query));
  const [filtersOpen, setFiltersOpen] = createSignal(false);
  const [live, setLive] = createSignal(false);
  const [looseMessage, setLooseMessage] = createSignal<Message | null>(null);

  const asked = createMemo(() => searchHref(search()));
  const calls = createPager<string, ListedCall>(
    () => (search().view === 'calls' ? asked() : null),
    (_, cursor, signal) => fetchCalls(apiQuery(search(), cursor, PAGE), signal),
    PAGE,
  );
  const messages = createPager<string, Message>(
    () => (search().view === 'messages' ? asked() : null),
    (_, cursor, signal) => fetchMessages(apiQuery(search(), cursor, PAGE), signal),
    PAGE,
  );
  const pager = (): Pager<ListedCall> | Pager<Message> => (search().view === 'calls' ? calls : messages);

  const run = (next: Search) => {
    setFiltersOpen(false);
    const href = searchHref(askable(next));
    if (href === asked()) pager().reload();
    else navigate(href);
  };
  const without = (name: FilterName) => {
    const filters = { ...search().filters };
    delete filters[name];
    run({ ...search(), filters });
  };

  createEffect(() => {
    if (!live() || !props.shown) return;
    const timer = setInterval(() => {
      // Whoever has paged on is reading; a refresh would throw the pages away.
      if (!document.hidden && !pager().loading() && pager().items().length <= PAGE) pager().reload();
    }, REFRESH_MS);
    onCleanup(() => clearInterval(timer));
  });

  const openMessage = (message: Message) => {
    if (message.call_id === null) setLooseMessage(message);
    else navigate(`${callHref(message.call_id)}?message=${encodeURIComponent(message.id)}`);
  };
  const used = () => FILTERS.filter((name) => search().filters[name]);

  return (
    <div class="search" classList={{ 'filters-open': filtersOpen() }} hidden={!props.shown}>
      <aside class="panel search-rail">
        <FilterForm search={search()} onSearch={run} />
      </aside>
      <section class="panel results" aria-label="Results">
        <header class="panel-head">
          <div class="results-head">
            <h1 class="off-screen">Search</h1>
            <button type="button" class="button filters-toggle" aria-expanded={filtersOpen()} onClick={() => setFiltersOpen(!filtersOpen())}>
              <Icon name="filter" />
              <span>Filters</span>
            </button>
            <div class="switch" role="group" aria-label="What to list">
              <button type="button" aria-pressed={search().view === 'calls'} onClick={() => run(forCalls(search()))}>
                Calls
              </button>
              <button type="button" aria-pressed={search().view === 'messages'} onClick={() => run({ ...search(), view: 'messages' })}>
                Messages
              </button>
            </div>
            <ul class="chips" aria-label="Filters in use">
              <For each={used()}>
                {(name) => (
                  <li class="chip">
                    <span class="quiet">{FILTER_WORDS[name]}</span>
                    <b class="clip" title={search().filters[name]}>{search().filters[name]}</b>
                    <button type="button" aria-label={`Remove filter ${FILTER_WORDS[name]}`} onClick={() => without(name)}>
                      <Icon name="close" />
                    </button>
                  </li>
                )}
              </For>
            </ul>
          </div>
          <div class="toolbar">
            <span class="quiet small" title={`Times are shown in ${zone()}`}>
              {rangeWords(search(), dateTime)} · {shortZone()}
            </span>
            <label class="check small" title="Look again every five seconds">
              <input type="checkbox" checked={live()} onChange={(event) => setLive(event.currentTarget.checked)} />
              Live
            </label>
            <button type="button" class="button icon-only" title="Search again" aria-label="Search again" onClick={() => pager().reload()}>
              <Icon name="reload" />
            </button>
          </div>
        </header>
        <Show when={pager().partial()}>
          <p class="notice notice-warn notice-flat" role="status">
            Not everything could be searched. What is listed is correct, but there may be more.
          </p>
        </Show>
        <Show when={pager().reached()}>
          {(reached) => (
            <p class="notice notice-flat progress" role="status">
              <span>
                {pager().loading() ? 'Searching' : 'Searched'} back to {dateTime(reached())}
              </span>
              <Progress since={search().since} until={search().until} reached={reached()} />
              <Show
                when={pager().loading()}
                fallback={
                  <button type="button" class="button" onClick={() => pager().more()}>
                    Search on
                  </button>
                }
              >
                <button type="button" class="button" onClick={() => pager().stop()}>
                  Stop
                </button>
              </Show>
            </p>
          )}
        </Show>
        <div class="grid-frame">
          <Show
            when={pager().ready()}
            fallback={
              <Show when={pager().failure()} fallback={<Loading what={search().view} />}>
                {(failure) => <Failed failure={failure()} onRetry={() => pager().reload()} />}
              </Show>
            }
          >
            <Show when={pager().items().length > 0} fallback={<NothingFound search={search()} onAll={() => run({ ...search(), since: null, until: null })} />}>
              <Show
                when={search().view === 'calls'}
                fallback={<MessageGrid messages={messages.items()} onOpen={openMessage} />}
              >
                <CallGrid
                  caption="Calls found, newest first"
                  calls={calls.items()}
                  href={(call) => callHref(call.call_id)}
                  onOpen={(call) => navigate(callHref(call.call_id))}
                  sessionHref={sessionHref}
                />
              </Show>
              <Show
                when={search().view === 'calls'}
                fallback={<MoreButton pager={messages} one="message" />}
              >
                <MoreButton pager={calls} one="call" />
              </Show>
            </Show>
          </Show>
        </div>
      </section>
      <Dialog open={looseMessage() !== null} label="Message" wide onClose={() => setLooseMessage(null)}>
        <Show when={looseMessage()}>{(message) => <MessagePane message={message()} onClose={() => setLooseMessage(null)} />}</Show>
      </Dialog>
    </div>
  );
}

/** How much of the range a search has behind it; nothing where the range has no beginning. */
function Progress(props: { since: string | null; until: string | null; reached: string }): JSX.Element {
  const share = () => searchedShare(props.since, props.until, props.reached, Date.now());
  return <Show when={share() !== null}>{<progress max="1" value={share() ?? 0} aria-label="Part of the time range that has been searched" />}</Show>;
}

function NothingFound(props: { search: Search; onAll: () => void }): JSX.Element {
  const filtered = () => FILTERS.some((name) => props.search.filters[name]);
  const bounded = () => props.search.since !== null || props.search.until !== null;
  return (
    <Empty title={`No ${props.search.view} found`}>
      <Show when={filtered()} fallback={<p>Nothing was captured in this time. Is a proxy sending HEP to this collector?</p>}>
        <p>Nothing matches all of the filters in this time.</p>
      </Show>
      <Show when={bounded()}>
        <p>
          <button type="button" class="button" onClick={() => props.onAll()}>
            Search all times
          </button>
        </p>
      </Show>
    </Empty>
  );
}
