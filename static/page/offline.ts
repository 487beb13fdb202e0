/** The page without its server: registers the service worker, and offers new builds. */
import { strings } from './strings';
import type { Ui } from './ui';

const SCRIPT = '/sw.js';

/** What is done to go over to a new build; a seam for tests. */
export interface Offers {
  say(text: string, action: { readonly label: string; readonly run: () => void }): void;
}

/** Nothing happens where the browser has no service workers, or refuses this one. */
export async function keepForOffline(ui: Ui, container = navigator.serviceWorker): Promise<void> {
  if (!('serviceWorker' in navigator)) return;
  try {
    const registration = await container.register(SCRIPT, { updateViaCache: 'none' });
    offerUpdates(registration, container, ui, () => {
      location.reload();
    });
  } catch {
    // Without it, the page needs its server: as it always did.
  }
}

/** Says that a new build waits, now or later, and reloads once it has taken over at the user's wish. */
export function offerUpdates(
  registration: ServiceWorkerRegistration,
  container: ServiceWorkerContainer,
  ui: Offers,
  reload: () => void,
): void {
  const offer = (waiting: ServiceWorker) => {
    const run = () => {
      container.addEventListener('controllerchange', reload, { once: true });
      waiting.postMessage('take-over');
    };
    ui.say(strings.newVersion, { label: strings.reload, run });
  };
  if (registration.waiting && container.controller) offer(registration.waiting);
  registration.addEventListener('updatefound', () => {
    const { installing } = registration;
    installing?.addEventListener('statechange', () => {
      // The first one of all takes over by itself.
      if (installing.state === 'installed' && container.controller) offer(installing);
    });
  });
}
