import { createEffect, createMemo, createSignal, type JSX, Match, onMount, Show, Switch } from 'solid-js';

import { ApiError } from '../shared/api/client';
import { Empty, Loading } from '../shared/ui/States';
import { me, requireLogin, setMe } from './account';
import { fetchMe, logOut } from './api';
import { AgentsPage } from './agents/AgentsPage';
import { CallPage } from './call/CallPage';
import { LinksPage } from './links/LinksPage';
import { LoginPage } from './login/LoginPage';
import { navigate, place } from './router';
import { routeOf } from './routes';
import { SearchPage } from './search/SearchPage';
import { SessionPage } from './session/SessionPage';

import './app.css';

export function App(): JSX.Element {
  const route = createMemo(() => routeOf(place().path));
  const page = () => route().page;
  const callId = createMemo(() => { const at = route(); return at.page === 'call' ? at.callId : null; });
  const correlationId = createMemo(() => { const at = route(); return at.page === 'session' ? at.correlationId : null; });
  // Until it is known who asks, no page asks for anything: it could only be refused.
  const [settled, setSettled] = createSignal(false);
  const barred = () => me()?.auth === 'user' && me()?.name === null;

  // The search stays as it was while a call is in front, so that going back shows the same list at the same place.
  const [searchQuery, setSearchQuery] = createSignal<string | null>(null);
  createEffect(() => {
    if (page() === 'search') setSearchQuery(place().query);
  });

  onMount(async () => {
    try {
      const found = await fetchMe();
      setMe(found);
      if (found.auth === 'user' && found.name === null) requireLogin();
    } catch (cause) {
      // Anything else the pages will meet themselves, and say so where it matters.
      if (cause instanceof ApiError && cause.status === 401) requireLogin();
    }
    setSettled(true);
  });

  createEffect(() => {
    const id = callId() ?? correlationId();
    const names: Record<string, string> = { search: 'Search', agents: 'Agents', links: 'Customer links', login: 'Log in', unknown: 'Not found' };
    document.title = `${id ?? names[page()] ?? ''} · Siplens`;
  });

  const leave = async () => {
    try {
      await logOut();
    } finally {
      setSearchQuery(null);
      requireLogin();
    }
  };

  return (
    <div class="app">
      <a class="skip" href="#main">Skip to content</a>
      <header class="top">
        <a class="brand" href="/" aria-label="Siplens, search">
          <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true">
            <rect class="brand-ground" width="32" height="32" rx="7" />
            <path class="brand-lines" d="M9 6v20M23 6v20M9 11.5h13M18.5 8.500l3.500 3-3.500 3M23 20.500H10M13.500 17.500l-3.500 3 3.500 3" />
          </svg>
          <span>Siplens</span>
        </a>
        <Show when={!barred()}>
          <nav aria-label="Pages">
            <a href={`/${searchQuery() ?? ''}`} aria-current={page() === 'search' ? 'page' : undefined}>Search</a>
            <a href="/links" aria-current={page() === 'links' ? 'page' : undefined}>Links</a>
            <a href="/agents" aria-current={page() === 'agents' ? 'page' : undefined}>Agents</a>
            <a href="/api/docs" target="_blank">API</a>
          </nav>
        </Show>
        <div class="top-end">
          <Show when={!barred() && me()?.name}>
            {(name) => (
              <>
                <span class="quiet clip" title={`Logged in as ${name()}`}>{name()}</span>
                <button type="button" class="button" onClick={() => void leave()}>Log out</button>
              </>
            )}
          </Show>
        </div>
      </header>
      <Show when={me()?.auth === 'open'}>
        <p class="notice notice-warn" role="status">
          No user exists yet, so this server answers on this machine only and without login. Make one with{' '}
          <code>siplens user add NAME</code>.
        </p>
      </Show>
      <main id="main" class="main" tabindex="-1">
        <Show when={settled() && searchQuery() !== null && !barred()}>
          <SearchPage query={searchQuery() ?? ''} shown={page() === 'search'} />
        </Show>
        <Switch>
          <Match when={!settled()}><Loading what="Siplens" /></Match>
          <Match when={page() === 'login'}><LoginPage /></Match>
          <Match when={callId()} keyed>{(id) => <CallPage callId={id} />}</Match>
          <Match when={correlationId()} keyed>{(id) => <SessionPage correlationId={id} />}</Match>
          <Match when={page() === 'agents'}><AgentsPage /></Match>
          <Match when={page() === 'links'}><LinksPage /></Match>
          <Match when={page() === 'unknown'}>
            <Empty title="There is no such page">
              <button type="button" class="button" onClick={() => navigate('/')}>Go to the search</button>
            </Empty>
          </Match>
        </Switch>
      </main>
    </div>
  );
}
