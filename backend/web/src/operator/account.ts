import { createSignal } from 'solid-js';

import type { Me } from '../shared/api/types';
import { navigate, place } from './router';
import { routeOf } from './routes';

const [me, setMe] = createSignal<Me | null>(null);

export { me, setMe };

/** Leads to the login page, which leads back to where one was. */
export function requireLogin(): void {
  setMe({ name: null, auth: 'user' });
  if (routeOf(place().path).page === 'login') return;
  const next = place().path + place().query;
  navigate(next === '/' ? '/login' : `/login?next=${encodeURIComponent(next)}`, true);
}
