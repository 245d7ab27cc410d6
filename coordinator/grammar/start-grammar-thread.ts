// A grammar thread as the pool wants it.
import { Worker } from 'node:worker_threads';
import { MAX_ENCODING_THREAD_HEAP_MB } from '../../common/limits.js';
import type { GrammarReply } from './grammar-calls.js';
import type { GrammarThread, GrammarThreadListener } from './grammar-place.js';
import type { GrammarThreadData } from './grammar-thread.js';

const THREAD_URL = new URL('./grammar-thread.js', import.meta.url);

export function startGrammarThread(data: GrammarThreadData, listener: GrammarThreadListener): GrammarThread {
  const worker = new Worker(THREAD_URL, {
    workerData: data,
    resourceLimits: { maxOldGenerationSizeMb: MAX_ENCODING_THREAD_HEAP_MB },
  });
  // It does not keep the process alive.
  worker.unref();
  worker.on('message', (replies: readonly GrammarReply[]) => listener.onReplies(replies));
  worker.on('error', (error) => listener.onEnd(error instanceof Error ? error : new Error(String(error))));
  worker.on('exit', (code) => listener.onEnd(new Error(`it ended with ${code}`)));
  return {
    post: (calls) => worker.postMessage(calls),
    terminate: () => void worker.terminate(),
  };
}
