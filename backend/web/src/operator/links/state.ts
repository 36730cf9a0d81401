import type { Link } from '../../shared/api/types';
import type { OutcomeTone } from '../../shared/call/outcome';

/** Whether a link still opens. */
export function linkState(link: Pick<Link, 'expires_at' | 'revoked_at'>, now: Date): { words: string; tone: OutcomeTone; active: boolean } {
  if (link.revoked_at !== null) return { words: 'Revoked', tone: 'bad', active: false };
  if (new Date(link.expires_at) <= now) return { words: 'Expired', tone: 'quiet', active: false };
  return { words: 'Active', tone: 'good', active: true };
}
