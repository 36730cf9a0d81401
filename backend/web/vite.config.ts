import { readFileSync } from 'node:fs';

import { defineConfig } from 'vitest/config';
import solid from 'vite-plugin-solid';

// The backend's own page for a link that does not open is plain HTML; it finds this under a name that never changes.
const refusedStyles = {
  name: 'refused-styles',
  generateBundle(this: { emitFile: (file: { type: 'asset'; fileName: string; source: string }) => void }) {
    const source = readFileSync(new URL('src/customer/refused.css', import.meta.url), 'utf8');
    this.emitFile({ type: 'asset', fileName: 'assets/customer/refused.css', source });
  },
};

// Two pages, two builds: the customer's page must carry no line of the operator's, and one build with two
// entries would share chunks between them. `--mode operator` or `--mode customer` says which is built.
export default defineConfig(({ mode }) => {
  const page = mode === 'customer' ? 'customer' : 'operator';
  return {
    base: '/',
    publicDir: false,
    plugins: page === 'customer' ? [solid(), refusedStyles] : [solid()],
    build: {
      outDir: 'dist',
      emptyOutDir: false,
      assetsDir: `assets/${page}`,
      // The content security policy allows files of our own and nothing inline.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      target: 'es2022',
      license: { fileName: `assets/${page}/licenses.md` },
      rolldownOptions: { input: `${page}/index.html` },
    },
    test: {
      environment: 'node',
      include: ['tests/**/*.test.ts'],
      // A zone with summer time and an offset, so that a test which confuses UTC and local time fails.
      env: { TZ: 'Europe/Berlin' },
      testTimeout: 60_000,
    },
  };
});
