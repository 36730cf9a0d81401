import { createSignal, type JSX, Show } from 'solid-js';

import { CallView } from '../../shared/call/CallView';
import { createLoad } from '../../shared/load';
import { Icon } from '../../shared/ui/Icon';
import { Failed, Loading } from '../../shared/ui/States';
import { exportHref, fetchCall } from '../api';
import { CreateLink } from '../links/CreateLink';
import { navigate, place } from '../router';
import { sessionHref } from '../routes';

export function CallPage(props: { callId: string }): JSX.Element {
  const call = createLoad(() => props.callId, fetchCall);
  const [sharing, setSharing] = createSignal(false);
  const wanted = () => new URLSearchParams(place().query).get('message');
  const exports = () => [
    { label: 'PCAP', href: exportHref(props.callId, 'pcap') },
    { label: 'Text', href: exportHref(props.callId, 'text') },
    { label: 'JSON', href: exportHref(props.callId, 'json') },
  ];
  return (
    <Show
      when={call.value()}
      fallback={
        <Show when={call.failure()} fallback={<Loading what="call" />}>
          {(failure) => <Failed failure={failure()} onRetry={call.reload} />}
        </Show>
      }
    >
      {(found) => (
        <>
          <CallView
            call={found()}
            exports={exports()}
            sessionHref={sessionHref}
            messageId={wanted()}
            onMessage={(id) => navigate(`${place().path}?message=${encodeURIComponent(id)}`, true)}
            actions={
              <>
                <button type="button" class="button icon-only" title="Load again" aria-label="Load again" onClick={() => call.reload()}>
                  <Icon name="reload" />
                </button>
                <button type="button" class="button primary" onClick={() => setSharing(true)}>
                  <Icon name="link" />
                  <span>Create customer link</span>
                </button>
              </>
            }
          />
          <CreateLink open={sharing()} target={{ call_id: found().call_id }} onClose={() => setSharing(false)} />
        </>
      )}
    </Show>
  );
}
