/** A refusal by the server, or no answer from it. `message` is meant for a person; `code` is stable. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** HTTP status; 0 when no answer came. */
    readonly status: number,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE';
  body?: unknown;
  signal?: AbortSignal;
}

/** Asks the server that served this page. Answers `null` for 204. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const init: RequestInit = {
    method: options.method ?? 'GET',
    headers: { accept: 'application/json' },
    credentials: 'same-origin',
    cache: 'no-store',
  };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    init.headers = { ...init.headers, 'content-type': 'application/json' };
    init.body = JSON.stringify(options.body);
  }

  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new ApiError('unreachable', 'The server does not answer. Check that it is running, then try again.', 0);
  }
  if (response.status === 204) return null as T;

  const text = await response.text();
  if (!response.ok) throw refusal(response.status, text);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError('unreadable', 'The server sent an answer this page cannot read.', response.status);
  }
}

function refusal(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } };
    if (typeof error?.code === 'string' && typeof error.message === 'string') {
      return new ApiError(error.code, sentence(error.message), status);
    }
  } catch {
    // Not our error shape: a proxy in between, or a page. The status says enough.
  }
  return new ApiError('http', `The server refused the request (HTTP ${status}).`, status);
}

/** The API words its errors for logs, lower-case and without a full stop; a page shows them as a sentence. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return 'The server gave no reason.';
  const first = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

/** What to show for anything a request may throw. */
export function failureOf(cause: unknown): ApiError {
  if (cause instanceof ApiError) return cause;
  return new ApiError('internal', 'Something went wrong in this page. Reload it to try again.', 0);
}

/** A query string, without the names whose value is empty; starts with `?` unless it is empty. */
export function queryString(values: Record<string, string | number | null | undefined>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}
