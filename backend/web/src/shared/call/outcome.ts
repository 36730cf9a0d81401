import type { CallSummary, Outcome } from '../api/types';

/** How an outcome reads, and the tone of its colour. */
const OUTCOMES: Record<Outcome, { words: string; tone: OutcomeTone }> = {
  answered: { words: 'Answered', tone: 'good' },
  completed: { words: 'Completed', tone: 'good' },
  in_progress: { words: 'In progress', tone: 'live' },
  busy: { words: 'Busy', tone: 'warn' },
  no_answer: { words: 'No answer', tone: 'warn' },
  cancelled: { words: 'Cancelled', tone: 'quiet' },
  redirected: { words: 'Redirected', tone: 'note' },
  declined: { words: 'Declined', tone: 'bad' },
  failed: { words: 'Failed', tone: 'bad' },
};

export type OutcomeTone = 'good' | 'live' | 'warn' | 'quiet' | 'note' | 'bad';

/** Also for an outcome a newer server may name. */
export function outcomeOf(name: string): { words: string; tone: OutcomeTone } {
  const known: { words: string; tone: OutcomeTone } | undefined = OUTCOMES[name as Outcome];
  return known ?? { words: name.replaceAll('_', ' '), tone: 'quiet' };
}

export function responseTone(status: number): OutcomeTone {
  if (status < 200) return 'quiet';
  if (status < 300) return 'good';
  if (status < 400) return 'note';
  if (status === 486 || status === 487 || status === 480 || status === 408 || status === 401 || status === 407) return 'warn';
  return 'bad';
}

/** `alice → bob`; the request's own address where no user is known. */
export function parties(call: Pick<CallSummary, 'from_user' | 'to_user' | 'request_uri'>): { from: string; to: string } {
  return { from: call.from_user ?? 'unknown', to: call.to_user ?? call.request_uri ?? 'unknown' };
}
