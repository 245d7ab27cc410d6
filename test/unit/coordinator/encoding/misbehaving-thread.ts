// A thread that does what its picture's label says, for the tests of the pool. Never part of the product.
import type { EncodeTask, TaskReply } from '../../../../coordinator/encoding/encode-task.js';

export async function run(task: EncodeTask): Promise<TaskReply> {
  const label = task.kind === 'picture' ? task.label : '';
  if (label === 'throw') throw new Error('thrown inside the thread');
  if (label === 'exit') process.exit(3);
  if (label === 'hang') for (;;);
  if (label === 'exhaust') {
    const hoard: number[][] = [];
    for (;;) hoard.push(Array.from({ length: 1_000_000 }, (_, index) => index));
  }
  return {
    result: {
      contentHash: label,
      width: 1,
      height: 1,
      numTiles: 1,
      tileSize: 1,
      tiles: new Uint8Array(3),
    },
  };
}
