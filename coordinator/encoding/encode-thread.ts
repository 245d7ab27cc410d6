// A thread of the encoding pool: reads the tokenizer when it starts, then runs task after task; pixels are moved out,
// not copied.
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { createTaskRunner, type EncodeSettings, type EncodeTask, type TaskReply } from './encode-task.js';

const runTask = createTaskRunner(workerData as EncodeSettings);

export async function run(task: EncodeTask): Promise<TaskReply | object> {
  const reply = await runTask(task);
  if (!('result' in reply) || !('tiles' in reply.result)) return reply;
  return move({ [transferableSymbol]: [reply.result.tiles.buffer as ArrayBuffer], [valueSymbol]: reply });
}
