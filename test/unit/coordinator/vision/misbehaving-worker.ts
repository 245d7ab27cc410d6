// A picture worker that does what its picture's label says, for the tests of the pool. Never part of the product.
import { parentPort } from 'node:worker_threads';
import type { PictureRequest } from '../../../../coordinator/vision/picture-worker.js';

parentPort!.on('message', ({ label }: PictureRequest) => {
  if (label === 'throw') throw new Error('thrown inside the worker');
  if (label === 'exit') process.exit(3);
  if (label === 'hang') for (;;);
  if (label === 'exhaust') {
    const hoard: number[][] = [];
    for (;;) hoard.push(Array.from({ length: 1_000_000 }, (_, i) => i));
  }
  const picture = {
    contentHash: label,
    width: 1,
    height: 1,
    numTiles: 1,
    tileSize: 1,
    tiles: new Uint8Array(3),
  };
  setTimeout(() => parentPort!.postMessage({ picture }), label === 'slow' ? 80 : 5);
});
