/** Tools that the server runs: its plugins, and a search in documents. */
import { asArray, asObject, asString } from '../../shared/json';
import { fetchJson } from '../remote-backend';
import type { PageTool } from './tool';

export class ServerTools {
  readonly #fetch: typeof fetch;
  #tools: Promise<readonly PageTool[]> | null = null;

  constructor(fetchUrl: typeof fetch) {
    this.#fetch = fetchUrl;
  }

  /** Asked for once; none while the server does not answer, or when it has none. Never rejects. */
  async get(): Promise<readonly PageTool[]> {
    this.#tools ??= this.#load();
    try {
      return await this.#tools;
    } catch {
      this.#tools = null; // it may answer the next time
      return [];
    }
  }

  async #load(): Promise<readonly PageTool[]> {
    const { tools } = await fetchJson(this.#fetch, '/tools');
    return asArray(tools, 'tools').map((tool) => this.#tool(asObject(tool, 'tool')));
  }

  #tool(told: Readonly<Record<string, unknown>>): PageTool {
    const name = asString(told['name'], 'name');
    return {
      name,
      description: asString(told['description'], 'description'),
      parameters: JSON.stringify(told['parameters']),
      run: async (given, { signal }) => {
        const asked = {
          ...{ method: 'POST', headers: { 'Content-Type': 'application/json' }, signal },
          body: JSON.stringify({ arguments: given }),
        };
        const answer = await fetchJson(this.#fetch, `/tools/${encodeURIComponent(name)}`, asked);
        return asString(answer['result'], 'result');
      },
    };
  }
}
