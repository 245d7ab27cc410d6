// Which model a bench serves and how: the flags that benches of a served model share, the arguments of `skein serve`
// that they become, and what a report says of them.
import { currentCommit, describeMachine } from '../machine.js';

/** For parseArgs. */
export const SERVED_MODEL_OPTIONS = {
  model: { type: 'string', default: 'skywork-r1v3-38b' },
  device: { type: 'string', default: 'cuda' },
  'load-format': { type: 'string', default: 'dummy' },
  'tensor-parallel-size': { type: 'string', default: '1' },
} as const;

export type ServedModel = Readonly<Record<keyof typeof SERVED_MODEL_OPTIONS, string>>;

/** `serveFlags`: what follows -- on the bench's command line. */
export function serveArgs(served: ServedModel, serveFlags: readonly string[]): string[] {
  const options = Object.keys(SERVED_MODEL_OPTIONS) as (keyof ServedModel)[];
  return [
    ...options.flatMap((option) => [`--${option}`, served[option]]),
    ...['--grpc-address', '127.0.0.1:0', ...serveFlags],
  ];
}

export function reportHead(
  benchmark: string,
  served: ServedModel,
  serveFlags: readonly string[],
): Record<string, unknown> {
  return {
    benchmark,
    commit: currentCommit(),
    date: new Date().toISOString(),
    machine: describeMachine(),
    model: served.model,
    loadFormat: served['load-format'],
    device: served.device,
    worldSize: Number(served['tensor-parallel-size']),
    serveFlags,
  };
}
