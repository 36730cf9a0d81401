import { readFile } from 'node:fs/promises';

import { expect, test } from 'vitest';

// @ts-expect-error: a script without types of its own
import { schema } from '../scripts/schema.mjs';

test('the types of the API are those of its description', async () => {
  const written = await readFile(new URL('../src/shared/api/schema.ts', import.meta.url), 'utf8');
  expect(written, 'run `npm run schema`').toBe(await schema());
});
