// A grammar thread: reads the tokenizer when it starts, then answers call after call, in order. What belongs to one
// step comes as one message and goes back as one.
import { parentPort, workerData } from 'node:worker_threads';
import { loadTextProcessor } from '../tokenizer/load-text-processor.js';
import type { LoadTextProcessorOptions } from '../tokenizer/text-processor.js';
import { answerCalls, type GrammarCall } from './grammar-calls.js';
import { GrammarHost, type GrammarVocabulary } from './grammar-host.js';

export interface GrammarThreadData {
  readonly text: LoadTextProcessorOptions;
  /** Rows of the embedding. */
  readonly vocabSize: number;
}

async function readVocabulary({ text, vocabSize }: GrammarThreadData): Promise<GrammarVocabulary> {
  const processor = await loadTextProcessor(text);
  const count = Math.min(processor.vocabSize, vocabSize);
  const tokens = Array.from({ length: count }, (_, id) =>
    processor.isText(id) ? processor.bytesOf(id) : new Uint8Array(),
  );
  const stopTokenIds = processor.stopTokenIds.filter((id) => id < vocabSize);
  return { tokens, size: vocabSize, stopTokenIds };
}

const port = parentPort!;
const vocabulary = await readVocabulary(workerData as GrammarThreadData);
const host = await GrammarHost.create(vocabulary);
// Messages are answered in the order of their arrival.
let last = Promise.resolve();
port.on('message', (calls: readonly GrammarCall[]) => {
  last = last.then(() => answerCalls(host, calls, (reply, transfer) => port.postMessage(reply, transfer)));
});
port.postMessage([]);
