// Reads what ghz leaves behind: its JSON report, which has one line a call, and its debug log, in which a call's line
// also has the trailers, and in them the server's own timings. ghz samples that log (of each kind of line the first
// hundred a second, then every hundredth), so the log tells of some of the calls and the report of all.
export interface GhzCall {
  readonly endMs: number;
  readonly latencyMs: number;
  /** gRPC's status as ghz names it: OK, ResourceExhausted, … */
  readonly status: string;
  readonly error: string;
}

export interface GhzReport {
  readonly count: number;
  readonly totalMs: number;
  readonly callsPerSecond: number;
  readonly calls: readonly GhzCall[];
  readonly endReason: string;
}

/** The server's word on one call, from its trailers; times in ms since it received the request. */
export interface ServerTiming {
  readonly queue: number;
  readonly ttft: number;
  readonly tpot: number;
  readonly total: number;
  readonly prompt: number;
  readonly completion: number;
  readonly cached: number;
}

export interface LoggedCall {
  readonly endMs: number;
  readonly latencyMs: number;
  readonly status: string;
  readonly timing: ServerTiming | null;
  /** Milliseconds after which a refused client may come back; null where nothing was said. */
  readonly retryAfterMs: number | null;
}

const NANOSECONDS = 1e6;

interface RawReport {
  readonly count: number;
  readonly total: number;
  readonly rps: number;
  readonly endReason?: string;
  readonly details: readonly { timestamp: string; latency: number; error: string; status: string }[] | null;
}

export function parseReport(text: string): GhzReport {
  const raw = JSON.parse(text) as RawReport;
  return {
    count: raw.count,
    totalMs: raw.total / NANOSECONDS,
    callsPerSecond: raw.rps,
    endReason: raw.endReason ?? '',
    calls: (raw.details ?? []).map(({ timestamp, latency, error, status }) => ({
      endMs: toMs(timestamp),
      latencyMs: latency / NANOSECONDS,
      status,
      error,
    })),
  };
}

interface RawStats {
  readonly message: string;
  readonly code: string;
  /** Seconds. */
  readonly duration: number;
  readonly stats: {
    readonly EndTime: string;
    readonly Trailer: Readonly<Record<string, readonly string[]>> | null;
  };
}

/** The calls in a debug log; other lines and a last line that was cut off are passed over. */
export function parseLog(text: string): LoggedCall[] {
  const calls: LoggedCall[] = [];
  for (const line of text.split('\n')) {
    if (!line.includes('"message":"Received RPC Stats"') || !line.endsWith('}')) continue;
    const { code, duration, stats } = JSON.parse(line) as RawStats;
    const trailer = (name: string): string | undefined => stats.Trailer?.[name]?.[0];
    const retryAfter = trailer('grpc-retry-pushback-ms');
    calls.push({
      endMs: toMs(stats.EndTime),
      latencyMs: duration * 1000,
      status: code,
      timing: parseServerTiming(trailer('server-timing')),
      retryAfterMs: retryAfter === undefined ? null : Number(retryAfter),
    });
  }
  return calls;
}

/** `name;dur=MS` and `name;desc=COUNT`, separated by commas; null where a name is missing. */
export function parseServerTiming(header: string | undefined): ServerTiming | null {
  if (header === undefined) return null;
  const values: Record<string, number> = {};
  for (const match of header.matchAll(/([a-z]+);(?:dur|desc)=([\d.]+)/g))
    values[match[1]!] = Number(match[2]);
  const names = ['queue', 'ttft', 'tpot', 'total', 'prompt', 'completion', 'cached'];
  return names.every((name) => Number.isFinite(values[name])) ? (values as unknown as ServerTiming) : null;
}

/** RFC 3339 with nanoseconds, which Date cuts to milliseconds. */
function toMs(timestamp: string): number {
  const match = /^(.*:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(timestamp);
  if (match === null) throw new Error(`ghz wrote a time that cannot be read: ${timestamp}`);
  return Date.parse(`${match[1]}${match[3]}`) + Number(match[2] ?? 0) * 1000;
}
