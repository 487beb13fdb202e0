import { decodeEntities } from './entities';

const SAFE_PROTOCOLS: readonly string[] = ['http:', 'https:', 'mailto:'];

/** Where a link may lead, or null: a model has no pages of its own, and no scripts to run. */
export function safeAddress(href: string): string | null {
  try {
    const url = new URL(decodeEntities(href));
    return SAFE_PROTOCOLS.includes(url.protocol) ? url.href : null;
  } catch {
    return null; // relative to this page, which is not what the model can mean
  }
}
