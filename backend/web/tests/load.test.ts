import { expect, test } from 'vitest';

import { kept } from '../src/shared/load';

test('a refresh keeps the objects of what has not changed', () => {
  const before = [{ id: 'a', n: 1 }, { id: 'b', n: 1 }];
  const after = kept(before, [{ id: 'c', n: 1 }, { id: 'a', n: 1 }, { id: 'b', n: 2 }]);
  expect(after).toEqual([{ id: 'c', n: 1 }, { id: 'a', n: 1 }, { id: 'b', n: 2 }]);
  expect(after[1]).toBe(before[0]);
  expect(after[2]).not.toBe(before[1]);
});
