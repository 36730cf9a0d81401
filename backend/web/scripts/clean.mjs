// Removes what an earlier build left, so that no stale hashed file is embedded into the backend.
// `dist/.gitkeep` stays: it lets the Rust crate compile where no Node is installed.
import { rmSync } from 'node:fs';

for (const name of ['operator', 'customer', 'assets']) {
  rmSync(new URL(`../dist/${name}`, import.meta.url), { recursive: true, force: true });
}
