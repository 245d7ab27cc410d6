// The process of a RemoteEngine: hosts one native engine and does what the parent says. Ends with its parent.
import type { EngineLike } from '../../worker/native/engine-like.js';
import { createNativeEngine } from '../../worker/native/load-addon.js';
import { fromNativeError } from '../../worker/native/native-errors.js';
import type { NativeStepPlan } from '../../worker/native/native.js';
import type { GroupEngine, RemoteFailure, RemoteReply, RemoteRequest } from './remote-engine.js';

let engine: EngineLike | null = null;

function send(reply: RemoteReply): void {
  if (process.connected) process.send?.(reply);
}

function toFailure(error: unknown): RemoteFailure {
  const { code, message } = fromNativeError(error);
  return { code, message };
}

async function execute(request: RemoteRequest): Promise<unknown> {
  if (request.kind === 'create') {
    engine = createNativeEngine(request.options);
    engine.onStep((error, result) => {
      send({ kind: 'step', failure: error === null ? null : toFailure(error), result });
    });
    return null;
  }
  if (engine === null) throw new Error('no engine was created');
  const { method, args } = request;
  if (method === 'load') return engine.load(args[0] as Parameters<EngineLike['load']>[0], () => {});
  if (method === 'submitStep') {
    if (!engine.submitStep(args[0] as NativeStepPlan)) throw new Error('the queue of steps is full');
    return null;
  }
  const call = engine[method as keyof GroupEngine] as (...values: readonly unknown[]) => unknown;
  return (await call(...args)) ?? null;
}

process.on('message', (message) => {
  const request = message as RemoteRequest;
  execute(request).then(
    (value) => {
      send({ kind: 'result', id: request.id, failure: null, value });
    },
    (error: unknown) => {
      send({ kind: 'result', id: request.id, failure: toFailure(error), value: null });
    },
  );
});
process.on('disconnect', () => process.exit(0));
