import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VECTORS = fileURLToPath(new URL('../../../tests/vectors', import.meta.url));

/** A file of what server and page must agree on. */
export function readVectors(name: string): unknown {
  return JSON.parse(readFileSync(join(VECTORS, name), 'utf8'));
}
