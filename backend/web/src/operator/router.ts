// Where the operator is. State that someone may want to send to a colleague lives in them.

import { createSignal } from 'solid-js';

import { routeOf } from './routes';

export interface Place {
  path: string;
  /** With its `?`, or empty. */
  query: string;
}

const here = (): Place => ({ path: location.pathname, query: location.search });
const [place, setPlace] = createSignal<Place>(here(), {
  equals: (a, b) => a.path === b.path && a.query === b.query,
});

export { place };

/** Goes to one of our own pages. `replace` leaves no step in the history. */
export function navigate(href: string, replace = false): void {
  if (replace) history.replaceState(null, '', href);
  else history.pushState(null, '', href);
  setPlace(here());
}

/** Lets links between our pages change the page without loading it anew. */
export function followLinks(root: Document): void {
  addEventListener('popstate', () => setPlace(here()));
  root.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = (event.target as Element).closest?.('a');
    if (!anchor || anchor.target || anchor.hasAttribute('download') || anchor.origin !== location.origin) return;
    if (routeOf(anchor.pathname).page === 'unknown') return;
    event.preventDefault();
    navigate(anchor.pathname + anchor.search);
  });
}
