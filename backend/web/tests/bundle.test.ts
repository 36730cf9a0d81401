import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build, type Rolldown } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A customer's portal loads this page in a frame: it has to be there at once. */
const CUSTOMER_BUDGET_BYTES = 40_000;

interface Built {
  directory: string;
  /** Source files that went into the bundle. */
  sources: string[];
}

async function buildPage(page: string): Promise<Built> {
  const directory = await mkdtemp(join(tmpdir(), `siplens-web-${page}-`));
  const result = (await build({
    root: ROOT,
    configFile: join(ROOT, 'vite.config.ts'),
    mode: page,
    logLevel: 'error',
    build: { outDir: directory },
  })) as Rolldown.RolldownOutput;
  const sources = result.output.flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
  return { directory, sources };
}

describe.each(['customer', 'operator'])('the %s bundle', (page) => {
  let built: Built;
  const other = page === 'customer' ? 'operator' : 'customer';

  beforeAll(async () => {
    built = await buildPage(page);
  });
  afterAll(async () => {
    await rm(built.directory, { recursive: true, force: true });
  });

  test('holds no module of the other page', () => {
    expect(built.sources.some((source) => source.includes(`/src/${page}/`))).toBe(true);
    expect(built.sources.filter((source) => source.includes(`/src/${other}/`))).toEqual([]);
  });

  test('lies where the backend serves it', async () => {
    const html = await readFile(join(built.directory, page, 'index.html'), 'utf8');
    const addresses = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
    expect(addresses.length).toBeGreaterThanOrEqual(3);
    for (const address of addresses) {
      expect(address).toMatch(new RegExp(`^/assets/${page}/`));
      expect(() => readFileSync(join(built.directory, address))).not.toThrow();
    }
  });

  test('keeps to the content security policy: nothing inline, nothing from elsewhere', async () => {
    const html = await readFile(join(built.directory, page, 'index.html'), 'utf8');
    expect(html).not.toMatch(/<script(?![^>]*\bsrc=)/);
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=/);
    const assets = join(built.directory, 'assets', page);
    for (const name of await readdir(assets)) {
      if (!/\.(js|css)$/.test(name)) continue;
      const text = await readFile(join(assets, name), 'utf8');
      const external = [...text.matchAll(/https?:\/\/[\w.-]+/g)].map((match) => match[0]);
      // The name of the SVG vocabulary is not an address anybody fetches.
      expect(external.filter((address) => address !== 'http://www.w3.org')).toEqual([]);
      expect(text).not.toMatch(/@import|url\(/);
    }
  });

  test('has no style attribute in a template', async () => {
    const assets = join(built.directory, 'assets', page);
    for (const name of await readdir(assets)) {
      if (name.endsWith('.js')) expect(await readFile(join(assets, name), 'utf8')).not.toMatch(/<[a-z][^<>`]* style=(?!\\?"border:0)/);
    }
  });

  if (page === 'customer') {
    test(`is no more than ${CUSTOMER_BUDGET_BYTES} bytes, compressed`, async () => {
      const assets = join(built.directory, 'assets', page);
      let total = 0;
      for (const name of await readdir(assets)) {
        if (/\.(js|css|svg)$/.test(name)) total += gzipSync(await readFile(join(assets, name))).length;
      }
      expect(total).toBeGreaterThan(5000);
      expect(total).toBeLessThanOrEqual(CUSTOMER_BUDGET_BYTES);
    });
  }
});
