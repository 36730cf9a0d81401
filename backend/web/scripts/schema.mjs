// Writes src/shared/api/schema.ts from openapi.json, the API's description as the backend prints it:
//
//   siplens openapi > openapi.json && npm run schema
//
// A test fails when either file is older than what it is made from.
import { readFile, writeFile } from 'node:fs/promises';

import openapiTS, { astToString } from 'openapi-typescript';

const DESCRIPTION = new URL('../openapi.json', import.meta.url);
const SCHEMA = new URL('../src/shared/api/schema.ts', import.meta.url);

export async function schema() {
  const description = JSON.parse(await readFile(DESCRIPTION, 'utf8'));
  const header = '// Made from openapi.json by `npm run schema`. Not to be edited.\n\n';
  return header + astToString(await openapiTS(description, { alphabetize: true }));
}

if (process.argv[1] && import.meta.url === new URL(process.argv[1], 'file:').href) {
  await writeFile(SCHEMA, await schema());
}
