import { type Accessor, createEffect, createSignal, on, onCleanup } from 'solid-js';

import { type ApiError, failureOf } from './api/client';
import type { Page } from './api/types';

export interface Load<T> {
  value: Accessor<T | undefined>;
  failure: Accessor<ApiError | undefined>;
  loading: Accessor<boolean>;
  reload: () => void;
}

/** Fetches whenever `source` changes and drops the answer to an older question. `null` means: nothing to ask yet. */
export function createLoad<S, T>(
  source: Accessor<S | null>,
  fetcher: (source: S, signal: AbortSignal) => Promise<T>,
): Load<T> {
  const [value, setValue] = createSignal<T>();
  const [failure, setFailure] = createSignal<ApiError>();
  const [loading, setLoading] = createSignal(true);
  const [round, setRound] = createSignal(0);

  createEffect(
    on([source, round], ([now, currentRound], before) => {
      // A reload keeps what is on the screen; another question does not.
      if (before && before[1] === currentRound) setValue(undefined);
      if (now === null) return;
      const abort = new AbortController();
      onCleanup(() => abort.abort());
      setLoading(true);
      fetcher(now, abort.signal).then(
        (answer) => {
          if (abort.signal.aborted) return;
          setValue(() => answer);
          setFailure(undefined);
          setLoading(false);
        },
        (cause: unknown) => {
          if (abort.signal.aborted) return;
          setFailure(failureOf(cause));
          setLoading(false);
        },
      );
    }),
  );

  return { value, failure, loading, reload: () => setRound((n) => n + 1) };
}

export interface Pager<T> {
  items: Accessor<T[]>;
  /** Whether the first page has arrived. */
  ready: Accessor<boolean>;
  hasMore: Accessor<boolean>;
  /** Whether the server could not search everything. */
  partial: Accessor<boolean>;
  /** While the search is not at its end: all that was captured after this has been looked at. */
  reached: Accessor<string | null>;
  failure: Accessor<ApiError | undefined>;
  loading: Accessor<boolean>;
  more: () => void;
  /** Ends a search that goes on by itself; what it found stays. */
  stop: () => void;
  reload: () => void;
}

/**
 * Pages by cursor: the first page whenever `source` changes, the next ones on `more()`. A search that ran into its time
 * limit goes on by itself until it has brought a page of items.
 */
export function createPager<S, T>(
  source: Accessor<S | null>,
  fetchPage: (source: S, cursor: string | null, signal: AbortSignal) => Promise<Page<T>>,
  pageSize = 1,
): Pager<T> {
  const [items, setItems] = createSignal<T[]>([]);
  const [cursor, setCursor] = createSignal<string | null>(null);
  const [partial, setPartial] = createSignal(false);
  const [ready, setReady] = createSignal(false);
  const [failure, setFailure] = createSignal<ApiError>();
  const [loading, setLoading] = createSignal(true);
  const [round, setRound] = createSignal(0);
  let abort = new AbortController();

  const [reached, setReached] = createSignal<string | null>(null);

  const fetchInto = (question: S, from: string | null, wanted = pageSize) => {
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    setLoading(true);
    fetchPage(question, from, signal).then(
      (page) => {
        if (signal.aborted) return;
        setItems((before) => (from === null ? kept(before, page.items) : [...before, ...page.items]));
        const unfinished = page.reached_at ?? null;
        // What the time limit left out comes with the cursor.
        setPartial((before) => (page.partial && unfinished === null) || (from !== null && before));
        setReached(unfinished);
        setCursor(page.next_cursor ?? null);
        setFailure(undefined);
        const missing = wanted - page.items.length;
        if (unfinished !== null && page.next_cursor && missing > 0) {
          if (page.items.length > 0) setReady(true);
          fetchInto(question, page.next_cursor, missing);
          return;
        }
        setReady(true);
        setLoading(false);
      },
      (cause: unknown) => {
        if (signal.aborted) return;
        setFailure(failureOf(cause));
        setLoading(false);
      },
    );
  };

  createEffect(
    on([source, round], ([now, currentRound], before) => {
      if (before && before[1] === currentRound) {
        setItems([]);
        setReady(false);
        setReached(null);
        setFailure(undefined);
      }
      if (now !== null) fetchInto(now, null);
    }),
  );
  onCleanup(() => abort.abort());

  return {
    items,
    ready,
    hasMore: () => cursor() !== null,
    partial,
    reached,
    failure,
    loading,
    stop: () => {
      abort.abort();
      setReady(true);
      setLoading(false);
    },
    more: () => {
      const now = source();
      if (now !== null && !loading() && cursor() !== null) fetchInto(now, cursor());
    },
    reload: () => setRound((n) => n + 1),
  };
}

/** The new items, but those that have not changed as the objects they were: their rows stay, and with them the focus. */
export function kept<T>(before: T[], items: T[]): T[] {
  const known = new Map(before.map((item) => [JSON.stringify(item), item]));
  return items.map((item) => known.get(JSON.stringify(item)) ?? item);
}
