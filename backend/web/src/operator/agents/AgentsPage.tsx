import { createSignal, For, type JSX, Show } from 'solid-js';

import type { Agents, Peers, Quarantine, Quarantined } from '../../shared/api/types';
import { count, dateTime, exactTime, relative, size } from '../../shared/format';
import { createLoad, type Load } from '../../shared/load';
import { plainLines } from '../../shared/message/tokens';
import { Dialog } from '../../shared/ui/Dialog';
import { Icon } from '../../shared/ui/Icon';
import { Empty, Failed, Loading } from '../../shared/ui/States';
import { fetchAgents, fetchPeers, fetchQuarantine } from '../api';
import { clockWords, refusedWords, repeatedWords } from './words';

import '../../shared/message/message.css';
import './agents.css';

/** Who sends: capture agents and their clocks, addresses, and what was refused as garbage. */
export function AgentsPage(): JSX.Element {
  const agents = createLoad(() => true, (_, signal) => fetchAgents(signal));
  const peers = createLoad(() => true, (_, signal) => fetchPeers(signal));
  const quarantine = createLoad(() => true, (_, signal) => fetchQuarantine(signal));
  const [opened, setOpened] = createSignal<Quarantined | null>(null);
  const reload = () => [agents, peers, quarantine].forEach((load) => load.reload());
  return (
    <div class="page">
      <header class="page-head">
        <div class="page-title">
          <h1>Agents</h1>
          <span class="quiet small">since the start of the backend</span>
        </div>
        <div class="toolbar">
          <button type="button" class="button icon-only" title="Ask again" aria-label="Ask again" onClick={reload}>
            <Icon name="reload" />
          </button>
        </div>
      </header>
      <Part title="Capture agents" load={agents} none={(found) => found.items.length === 0} words="No agent has sent anything yet.">
        {(found) => <AgentGrid agents={found()} />}
      </Part>
      <Part title="Addresses" load={peers} none={(found) => found.items.length === 0} words="Nothing has come from anywhere yet.">
        {(found) => <PeerGrid peers={found()} />}
      </Part>
      <Part title="Refused as garbage" load={quarantine} none={(found) => found.items.length === 0} words="Nothing, or it is no longer in memory.">
        {(found) => <QuarantineGrid quarantine={found()} onOpen={setOpened} />}
      </Part>
      <Dialog open={opened() !== null} label="Refused packet" wide onClose={() => setOpened(null)}>
        <Show when={opened()}>
          {(packet) => (
            <pre class="raw" tabindex="0">
              {plainLines('', packet().octets_base64).map((line) => line.map((token) => token.text).join('')).join('\n')}
            </pre>
          )}
        </Show>
      </Dialog>
    </div>
  );
}

interface PartProps<T> {
  title: string;
  load: Load<T>;
  none: (value: T) => boolean;
  words: string;
  children: (value: () => T) => JSX.Element;
}

function Part<T extends object>(props: PartProps<T>): JSX.Element {
  return (
    <section class="panel agents-part" aria-label={props.title}>
      <header class="panel-head">
        <h2>{props.title}</h2>
      </header>
      <Show
        when={props.load.value()}
        fallback={
          <Show when={props.load.failure()} fallback={<Loading what={props.title.toLowerCase()} />}>
            {(failure) => <Failed failure={failure()} onRetry={() => props.load.reload()} />}
          </Show>
        }
      >
        {(value) => (
          <Show when={!props.none(value())} fallback={<Empty title={props.words} />}>
            <div class="grid-frame">{props.children(value)}</div>
          </Show>
        )}
      </Show>
    </section>
  );
}

function AgentGrid(props: { agents: Agents }): JSX.Element {
  return (
    <table class="grid grid-agents">
      <thead>
        <tr>
          <th scope="col" class="col-agent">Agent</th>
          <th scope="col">Last from</th>
          <th scope="col" class="col-last">Last packet</th>
          <th scope="col" class="col-clock">Clock</th>
          <th scope="col" class="col-taken right">Taken</th>
          <th scope="col" class="col-taken right" title="Packets that it sent and that did not come. Only Siplens' own modules number their packets.">
            Lost
          </th>
          <th scope="col">Refused</th>
        </tr>
      </thead>
      <tbody>
        <For each={props.agents.items}>
          {(agent) => (
            <tr>
              <td>{agent.agent_id}</td>
              <td class="mono">{agent.peer}</td>
              <td title={exactTime(agent.last_seen)}>
                {dateTime(agent.last_seen)} <span class="quiet">{relative(agent.last_seen)}</span>
              </td>
              <td>
                <span class="pill" data-tone={agent.clock_offset_ms === null ? 'quiet' : agent.clock_skewed ? 'bad' : 'good'}>
                  {clockWords(agent.clock_offset_ms)}
                </span>
              </td>
              <td class="cell-number" data-name="Taken">{count(agent.accepted)}</td>
              <td class="cell-number" data-name="Lost" title={repeatedWords(agent.repeated)}>
                <Show when={agent.lost > 0} fallback="0">
                  <span class="pill" data-tone="bad">{count(agent.lost)}</span>
                </Show>
              </td>
              <td data-name="Refused" title={refusedWords(agent.refused)}>{refusedWords(agent.refused)}</td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}

function PeerGrid(props: { peers: Peers }): JSX.Element {
  return (
    <table class="grid grid-agents">
      <thead>
        <tr>
          <th scope="col">Address</th>
          <th scope="col" class="col-last">Last packet</th>
          <th scope="col" class="col-taken right">Taken</th>
          <th scope="col">Refused</th>
        </tr>
      </thead>
      <tbody>
        <For each={props.peers.items}>
          {(peer) => (
            <tr>
              <td class="mono">{peer.address}</td>
              <td title={exactTime(peer.last_seen)}>
                {dateTime(peer.last_seen)} <span class="quiet">{relative(peer.last_seen)}</span>
              </td>
              <td class="cell-number" data-name="Taken">{count(peer.accepted)}</td>
              <td data-name="Refused" title={refusedWords(peer.refused)}>{refusedWords(peer.refused)}</td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}

function QuarantineGrid(props: { quarantine: Quarantine; onOpen: (packet: Quarantined) => void }): JSX.Element {
  return (
    <table class="grid grid-agents">
      <thead>
        <tr>
          <th scope="col" class="col-last">Received</th>
          <th scope="col">From</th>
          <th scope="col" class="col-clock">Reason</th>
          <th scope="col" class="col-taken right">Size</th>
          <th scope="col" class="col-look">
            <span class="off-screen">Look</span>
          </th>
        </tr>
      </thead>
      <tbody>
        <For each={props.quarantine.items}>
          {(packet) => (
            <tr>
              <td title={exactTime(packet.received_at)}>{dateTime(packet.received_at)}</td>
              <td class="mono">
                {packet.peer} <span class="quiet">{packet.transport}</span>
              </td>
              <td>{packet.reason}</td>
              <td class="cell-number" data-name="Size">{size(packet.size_bytes)}</td>
              <td class="cell-look">
                <button type="button" class="button" aria-label={`Look at packet ${packet.number}`} onClick={() => props.onOpen(packet)}>
                  Look
                </button>
              </td>
            </tr>
          )}
        </For>
      </tbody>
    </table>
  );
}
