import { expect, test, vi } from 'vitest';

import { offerUpdates } from '../../page/offline';

class FakeWorker extends EventTarget {
  state = 'installing';
  readonly postMessage = vi.fn();

  become(state: string): void {
    this.state = state;
    this.dispatchEvent(new Event('statechange'));
  }
}

/** controlled: whether a build is in use already. */
function setUp(controlled: boolean, waiting: FakeWorker | null = null) {
  const registration = Object.assign(new EventTarget(), {
    waiting,
    installing: null as FakeWorker | null,
  });
  const container = Object.assign(new EventTarget(), { controller: controlled ? {} : null });
  const said: (() => void)[] = [];
  const reload = vi.fn();
  offerUpdates(
    registration as unknown as ServiceWorkerRegistration,
    container as unknown as ServiceWorkerContainer,
    { say: (_, { run }) => said.push(run) },
    reload,
  );
  const found = () => {
    registration.installing = new FakeWorker();
    registration.dispatchEvent(new Event('updatefound'));
    return registration.installing;
  };
  return { container, found, said, reload };
}

test('a new build takes over when it is wanted, and then the page is loaded anew', () => {
  const { container, found, said, reload } = setUp(true);
  const worker = found();
  expect(said).toEqual([]);
  worker.become('installed');
  expect(worker.postMessage).not.toHaveBeenCalled();
  said[0]!();
  expect(worker.postMessage).toHaveBeenCalledWith('take-over');
  expect(reload).not.toHaveBeenCalled();
  container.dispatchEvent(new Event('controllerchange'));
  expect(reload).toHaveBeenCalledOnce();
});

test('a build that waits since an earlier visit is offered at once', () => {
  expect(setUp(true, new FakeWorker()).said).toHaveLength(1);
});

test('the first build of all is not news', () => {
  const { found, said, container, reload } = setUp(false);
  found().become('installed');
  container.dispatchEvent(new Event('controllerchange'));
  expect(said).toEqual([]);
  expect(reload).not.toHaveBeenCalled();
});
