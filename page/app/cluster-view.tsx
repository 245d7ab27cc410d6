// The view on the cluster: in one sentence what it is, then the figures of now, the last minutes, what every rank
// holds, and what happened.
import type { ComponentChildren, JSX } from 'preact';
import type { ClusterReport } from '../../common/cluster-report.js';
import { formatCount, formatPercent } from '../logic/format.js';
import { marksOf, pointsWithZeros, rankLines, type Line, type Timeline } from '../logic/timeline.js';
import { EventList } from './event-list.js';
import type { ClusterState } from './hooks.js';
import { LineChart } from './line-chart.js';
import { MemoryMap } from './memory-map.js';

export function ClusterView(props: ClusterState): JSX.Element {
  const { report, isUnreachable } = props;
  return (
    <main id="cluster-main" class="cluster" tabIndex={-1}>
      <h1 class="unseen">Cluster</h1>
      {isUnreachable && (
        <p class="notice" role="alert">
          The server does not answer. {report === null ? '' : 'What is shown is the last that it told. '}
          This page goes on asking.
        </p>
      )}
      {report !== null && <Report {...props} report={report} />}
    </main>
  );
}

function Report({ report, timeline }: ClusterState & { readonly report: ClusterReport }): JSX.Element {
  const { ranks, events, epoch_number: epoch } = report;
  return (
    <>
      <Summary report={report} />
      <Figures report={report} />
      <section aria-labelledby="minutes">
        <h2 id="minutes">The last five minutes</h2>
        <Charts events={events} timeline={timeline} numBlocks={report.cache.num_blocks} />
      </section>
      <section aria-labelledby="memory">
        <h2 id="memory">Memory of the ranks {epoch > 0 && <small>when epoch {epoch} was formed</small>}</h2>
        {ranks.length === 0 ? (
          <p class="empty">No group has been formed yet; its ranks will be shown here.</p>
        ) : (
          <MemoryMap ranks={ranks} />
        )}
      </section>
      <section aria-labelledby="events">
        <h2 id="events">Events</h2>
        {events.length === 0 ? <p class="empty">Nothing has happened yet.</p> : <EventList events={events} />}
      </section>
    </>
  );
}

function Summary({ report }: { readonly report: ClusterReport }): JSX.Element {
  const { model, ranks, collective, epoch_number: epoch, version } = report;
  const { name, architecture, compute_type: type, quantization, vision_quantization: vision } = model;
  const { kv_cache_dtype: cacheType } = model;
  const devices = [...new Set(ranks.map(({ device_name: device }) => device))].filter((each) => each !== '');
  const facts = [
    architecture,
    [
      type,
      quantization.toUpperCase(),
      vision === '' ? '' : `tower ${vision.toUpperCase()}`,
      cacheType === '' ? '' : `KV cache ${cacheType.toUpperCase()}`,
    ]
      .filter((part) => part !== '')
      .join(', '),
    ranks.length === 0 ? '' : ranks.length === 1 ? '1 rank' : `${ranks.length} ranks`,
    devices.join(', '),
    ranks.length > 1 ? collective : '',
    model.deterministic ? 'deterministic' : '',
    epoch === 0 ? '' : `epoch ${epoch}`,
    `Skein ${version}`,
  ];
  return (
    <section class="summary" aria-label="What is served">
      <h2>{name}</h2>
      <p>
        {facts
          .filter((fact) => fact !== '')
          .map((fact) => (
            <span>{fact}</span>
          ))}
      </p>
    </section>
  );
}

function Figures({ report }: { readonly report: ClusterReport }): JSX.Element {
  const { queue, cache, completed_steps: steps } = report;
  const { num_blocks: blocks, num_free_blocks: free, num_kept_blocks: kept, block_size: size } = cache;
  const { num_admitted_tokens: admitted, num_cached_tokens: cached } = cache;
  const hasGroup = blocks > 0;
  const used = blocks - free;
  return (
    <dl class="tiles">
      <Tile name="Running" value={formatCount(queue.num_running)}>
        {queue.num_paused === 0 ? 'sequences' : `sequences, ${formatCount(queue.num_paused)} paused`}
      </Tile>
      <Tile name="Waiting" value={formatCount(queue.num_waiting)}>
        {queue.num_preemptions === 0
          ? 'for their turn'
          : `${formatCount(queue.num_preemptions)} preempted so far`}
      </Tile>
      <Tile name="KV cache in use" value={hasGroup ? formatPercent(used / blocks) : '–'}>
        {hasGroup ? `${formatCount(used * size)} of ${formatCount(blocks * size)} tokens` : 'no group yet'}
        {hasGroup && <Meter share={used / blocks} kept={kept / blocks} />}
      </Tile>
      <Tile name="Kept for reuse" value={hasGroup ? formatPercent(kept / blocks) : '–'}>
        {hasGroup ? `${formatCount(kept * size)} tokens of earlier prompts` : 'no group yet'}
      </Tile>
      <Tile name="Cache hits" value={admitted === 0 ? '–' : formatPercent(cached / admitted)}>
        {admitted === 0
          ? 'no prompt yet'
          : `${formatCount(cached)} of ${formatCount(admitted)} prompt tokens`}
      </Tile>
      <Tile name="Steps" value={formatCount(steps)}>
        in this epoch
      </Tile>
    </dl>
  );
}

interface TileProps {
  readonly name: string;
  readonly value: string;
  readonly children: ComponentChildren;
}

function Tile({ name, value, children }: TileProps): JSX.Element {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        <b>{value}</b>
        <span>{children}</span>
      </dd>
    </div>
  );
}

/** In use, and beside it what is kept. */
function Meter({ share, kept }: { readonly share: number; readonly kept: number }): JSX.Element {
  return (
    <svg class="meter" width="100%" height="4" aria-hidden="true">
      <rect class="meter-all" width="100%" height="4" />
      <rect class="meter-used" width={`${share * 100}%`} height="4" />
      <rect class="meter-kept" x={`${share * 100}%`} width={`${kept * 100}%`} height="4" />
    </svg>
  );
}

interface ChartsProps {
  readonly events: ClusterReport['events'];
  readonly timeline: Timeline;
  /** Of the KV cache. */
  readonly numBlocks: number;
}

function Charts({ events, timeline: { seconds, nowS }, numBlocks }: ChartsProps): JSX.Element {
  const marks = marksOf(events);
  const rates: Line[] = [
    { label: 'produced', colour: 0, points: pointsWithZeros(seconds, nowS, (each) => each.num_sampled) },
    {
      label: 'of prompts',
      colour: 1,
      points: pointsWithZeros(seconds, nowS, (each) => Math.max(0, each.num_tokens - each.num_sampled)),
    },
  ];
  const requests: Line[] = [
    { label: 'running', colour: 0, points: pointsWithZeros(seconds, nowS, (each) => each.num_running) },
    { label: 'waiting', colour: 1, points: pointsWithZeros(seconds, nowS, (each) => each.num_waiting) },
  ];
  const use: Line[] = [
    {
      label: 'in use',
      colour: 0,
      points: pointsWithZeros(seconds, nowS, (each) => (100 * each.num_used_blocks) / Math.max(numBlocks, 1)),
    },
  ];
  // Where the host does not see it, as within a recorded step of a GPU, all are 0.
  const hasWaits = seconds.some(({ collective_ms: waitMs }) => waitMs.some((ms) => ms > 0));
  const waits = hasWaits ? rankLines(seconds, ({ collective_ms: waitMs }) => waitMs) : [];
  const shared = { marks, nowS };
  return (
    <div class="charts">
      <LineChart
        title="Step time"
        unit="ms, mean of each second"
        lines={rankLines(seconds, ({ step_ms: stepMs }) => stepMs)}
        areAlike
        empty="No step was computed. Ask something, and its steps show here."
        {...shared}
      />
      {waits.length > 0 && (
        <LineChart
          title="Wait for other ranks"
          unit="ms of the step"
          lines={waits}
          areAlike
          empty=""
          {...shared}
        />
      )}
      <LineChart title="Tokens" unit="per second" lines={rates} empty="No token was computed." {...shared} />
      <LineChart
        title="Sequences"
        unit="most in each second"
        lines={requests}
        isInteger
        empty="No sequence was computed."
        {...shared}
      />
      <LineChart
        title="KV cache"
        unit="% of its blocks, most in each second"
        lines={use}
        empty="No block was used."
        {...shared}
      />
      {marks.length > 0 && (
        <p class="mark-legend">
          <span class="formed">an epoch began</span>
          <span class="lost">an epoch was lost</span>
        </p>
      )}
    </div>
  );
}
