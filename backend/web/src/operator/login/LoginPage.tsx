import { createSignal, type JSX, Show } from 'solid-js';

import { type ApiError, failureOf } from '../../shared/api/client';
import { setMe } from '../account';
import { fetchMe, logIn } from '../api';
import { navigate, place } from '../router';
import { returnPlace } from '../routes';

import './login.css';

export function LoginPage(): JSX.Element {
  const [failure, setFailure] = createSignal<ApiError | null>(null);
  const [busy, setBusy] = createSignal(false);

  const submit = async (event: SubmitEvent & { currentTarget: HTMLFormElement }) => {
    event.preventDefault();
    const form = event.currentTarget;
    const entered = new FormData(form);
    setBusy(true);
    try {
      await logIn(String(entered.get('name')), String(entered.get('password')));
      setMe(await fetchMe());
      navigate(returnPlace(place().query), true);
    } catch (cause) {
      setFailure(failureOf(cause));
      form.querySelector<HTMLInputElement>('[name=password]')?.select();
    } finally {
      setBusy(false);
    }
  };

  return (
    <div class="login">
      <form class="panel login-form" onSubmit={(event) => void submit(event)}>
        <h1>Log in</h1>
        <label class="field">
          <span>Name</span>
          <input class="input" name="name" autocomplete="username" autocapitalize="off" spellcheck={false} required autofocus />
        </label>
        <label class="field">
          <span>Password</span>
          <input class="input" name="password" type="password" autocomplete="current-password" required />
        </label>
        <Show when={failure()}>
          {(refused) => (
            <p class="notice notice-bad login-notice" role="alert">
              {refused().status === 401 ? 'This name and password do not belong together.' : refused().message}
            </p>
          )}
        </Show>
        <button type="submit" class="button primary" disabled={busy()}>
          {busy() ? 'Checking…' : 'Log in'}
        </button>
        <p class="hint">
          Users are made on the server: <code>siplens user add NAME</code>
        </p>
      </form>
    </div>
  );
}
