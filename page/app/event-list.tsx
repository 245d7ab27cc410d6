// What happened to the cluster, the latest first: states, epochs, losses, recoveries and what those took.
import type { JSX } from 'preact';
import type { ClusterEvent } from '../../common/cluster-report.js';
import { formatCount, formatMs, formatTime } from '../logic/format.js';

const STATES: Readonly<Record<string, string>> = {
  forming: 'A group is being formed',
  ready: 'The model is served',
  recovering: 'A group was lost; the next one is being formed, and requests wait',
  failed: 'Nothing is served',
  draining: 'Shutting down: no new requests are taken',
};

const PHASES: Readonly<Record<string, string>> = {
  workers: 'workers there',
  opened: 'ranks opened',
  loaded: 'weights loaded',
  joined: 'group joined',
  firstToken: 'first token',
};

export function EventList({ events }: { readonly events: readonly ClusterEvent[] }): JSX.Element {
  return (
    <ol class="events" aria-label="Events, the latest first">
      {[...events].reverse().map((event) => (
        <li class={`event event-${event.kind}`}>
          <time dateTime={new Date(event.at_ms).toISOString()}>{formatTime(event.at_ms)}</time>
          <div>{textOf(event)}</div>
        </li>
      ))}
    </ol>
  );
}

function textOf(event: ClusterEvent): JSX.Element {
  switch (event.kind) {
    case 'state':
      return <p>{STATES[event.state]}.</p>;
    case 'epoch':
      return (
        <p>
          <b>Epoch {event.epoch_number}</b> began with {numbered(event.num_ranks, 'rank')}.
        </p>
      );
    case 'lost':
      return (
        <>
          <p>
            <b>Epoch {event.epoch_number} was lost</b> <code>{event.code.toLowerCase()}</code>
          </p>
          <p class="event-reason">{event.reason}</p>
        </>
      );
    case 'recovery': {
      const phases = Object.entries(event.phases_ms);
      const took = phases.at(-1)?.[1] ?? 0;
      return (
        <>
          <p>
            <b>Recovered in {formatMs(took)}</b>, {numbered(event.num_requests, 'request')} went on
            {event.num_attempts > 1 && `, ${numbered(event.num_attempts, 'attempt')}`}.
          </p>
          <ul class="phases">
            {phases.map(([phase, ms]) => (
              <li>
                {PHASES[phase] ?? phase} <b>{formatMs(ms)}</b>
              </li>
            ))}
          </ul>
        </>
      );
    }
  }
}

function numbered(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}
