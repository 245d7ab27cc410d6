// The process of a RemoteEngine: hosts one native engine and does what the parent says. Ends with its parent.
import type { EngineLike } from '../../worker/native/engine-like.js';
import { createNativeEngine } from '../../worker/native/native-engine.js';
import { fromNativeError } from '../../common/native/native-errors.js';
import type { NativeStepPlan } from '../../common/native/native.js';
import type { RemoteFailure, RemoteReply, RemoteRequest } from './remote-engine.js';

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
  switch (method) {
    case 'load':
      return engine.load(args[0] as Parameters<EngineLike['load']>[0], () => {});
    case 'submitStep':
      if (!engine.submitStep(args[0] as NativeStepPlan)) throw new Error('the queue of steps is full');
      return null;
    case 'prepareGroup':
      return engine.prepareGroup(...(args as Parameters<EngineLike['prepareGroup']>));
    case 'joinGroup':
      return engine.joinGroup(...(args as Parameters<EngineLike['joinGroup']>));
    case 'putPixels':
      return engine.putPixels(...(args as Parameters<EngineLike['putPixels']>));
    case 'inspect':
      return engine.inspect(...(args as Parameters<EngineLike['inspect']>));
    case 'abort':
      engine.abort(...(args as Parameters<EngineLike['abort']>));
      return null;
    case 'endEpoch':
      return engine.endEpoch();
    case 'close':
      return engine.close();
    default:
      throw new Error(`no method ${method}`);
  }
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
