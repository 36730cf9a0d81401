import { expect, test } from 'vitest';

import { createRoot, createSignal } from 'solid-js';

import type { Page } from '../src/shared/api/types';
import { createPager, kept, type Pager } from '../src/shared/load';

test('a refresh keeps the objects of what has not changed', () => {
  const before = [{ id: 'a', n: 1 }, { id: 'b', n: 1 }];
  const after = kept(before, [{ id: 'c', n: 1 }, { id: 'a', n: 1 }, { id: 'b', n: 2 }]);
  expect(after).toEqual([{ id: 'c', n: 1 }, { id: 'a', n: 1 }, { id: 'b', n: 2 }]);
  expect(after[1]).toBe(before[0]);
  expect(after[2]).not.toBe(before[1]);
});

/** A server that looks at one message a step; `pages` are its answers, in order. */
function pagerOf(pages: Partial<Page<string>>[], pageSize: number): { pager: Pager<string>; asked: (string | null)[] } {
  const asked: (string | null)[] = [];
  const pager = createRoot(() => {
    const [question] = createSignal('q');
    return createPager<string, string>(
      question,
      (_, cursor) => {
        asked.push(cursor);
        const page = pages[asked.length - 1];
        return page ? Promise.resolve({ items: [], next_cursor: null, partial: false, reached_at: null, ...page }) : new Promise(() => {});
      },
      pageSize,
    );
  });
  return { pager, asked };
}

const soon = () => new Promise((done) => setTimeout(done));

test('a search that ran into its time limit goes on until it has a page', async () => {
  const unfinished = { partial: true, reached_at: 't' };
  const { pager, asked } = pagerOf(
    [
      { ...unfinished, next_cursor: '1' },
      { ...unfinished, items: ['a'], next_cursor: '2' },
      { ...unfinished, items: ['b'], next_cursor: '3' },
    ],
    2,
  );
  await soon();
  expect(asked).toEqual([null, '1', '2']);
  expect(pager.items()).toEqual(['a', 'b']);
  expect([pager.loading(), pager.hasMore(), pager.partial(), pager.reached()]).toEqual([false, true, false, 't']);
});

test('a search that goes on can be stopped, and what it found stays', async () => {
  const { pager, asked } = pagerOf([{ partial: true, reached_at: 't', items: ['a'], next_cursor: '1' }], 2);
  await soon();
  expect([pager.ready(), pager.loading()]).toEqual([true, true]);
  pager.stop();
  expect([pager.loading(), pager.hasMore(), asked.length]).toEqual([false, true, 2]);
  expect(pager.items()).toEqual(['a']);
});

test('what is missing because a part of the store is away is told, and nothing is asked again', async () => {
  const { pager, asked } = pagerOf([{ partial: true, items: ['a'], next_cursor: '1' }], 2);
  await soon();
  expect([pager.partial(), pager.reached(), asked.length]).toEqual([true, null, 1]);
});
