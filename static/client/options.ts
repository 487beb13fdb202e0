/** What createPhi was given, checked. */
import { BROWSER_DEVICES } from '../shared/protocol';
import type { DeviceChoice } from '../shared/protocol';
import type { PhiOptions } from './api';

export interface ParsedOptions extends Pick<PhiOptions, 'onProgress' | 'onDevice' | 'onNoSpace'> {
  readonly model: string | null;
  readonly device: DeviceChoice;
  readonly server: boolean;
  readonly baseUrl: string | undefined;
  readonly apiKey: string | null;
  readonly persist: boolean;
}

const DEVICES: readonly DeviceChoice[] = ['auto', ...BROWSER_DEVICES, 'server'];
const KNOWN = new Set([
  ...['model', 'device', 'server', 'baseUrl', 'apiKey', 'signal', 'persist'],
  ...['onProgress', 'onDevice', 'onNoSpace'],
]);

/** Throws a TypeError that names the option. */
export function parseOptions(options: PhiOptions): ParsedOptions {
  const unknown = Object.keys(options).find((name) => !KNOWN.has(name));
  if (unknown !== undefined) {
    throw new TypeError(
      `createPhi: there is no option '${unknown}'; there are ${[...KNOWN].join(', ')}`,
    );
  }
  const { onProgress, onDevice, onNoSpace } = options;
  const device = DEVICES.find((name) => name === (options.device ?? 'auto'));
  if (device === undefined) {
    throw new TypeError(
      `createPhi: device must be one of ${DEVICES.join(', ')}, but is '${String(options.device)}'`,
    );
  }
  if (options.model?.includes(':')) {
    throw new TypeError(
      `createPhi: model must be the id of a model, but is '${options.model}'; adapters are named in requests`,
    );
  }
  const server = options.server ?? true;
  if (!server && device === 'server') {
    throw new TypeError("createPhi: device 'server' and server: false exclude each other");
  }
  return {
    ...(onProgress && { onProgress }),
    ...(onDevice && { onDevice }),
    ...(onNoSpace && { onNoSpace }),
    model: options.model ?? null,
    device,
    server,
    baseUrl: options.baseUrl === undefined ? undefined : parseUrl(options.baseUrl),
    apiKey: options.apiKey ?? null,
    persist: options.persist ?? false,
  };
}

/** Without a slash at the end, relative addresses resolved. */
function parseUrl(text: string): string {
  const url = URL.canParse(text, location.href) ? new URL(text, location.href) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(`createPhi: baseUrl must be an http or https address, but is '${text}'`);
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}
