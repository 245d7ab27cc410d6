// Entry point of a picture worker thread: one request message in, one reply out, tiles moved and not copied. Decides nothing.
import { parentPort, workerData } from 'node:worker_threads';
import sharp from 'sharp';
import { toAppError, type ErrorCode } from '../../common/errors.js';
import type { PictureSettings, ProcessedPicture } from './picture.js';
import { processPicture } from './process-picture.js';

export interface PictureRequest {
  readonly encoded: Uint8Array;
  readonly label: string;
}

/** Errors cross as plain data: class instances do not survive the structured clone. */
export type PictureReply =
  | { readonly picture: ProcessedPicture }
  | {
      readonly error: {
        readonly code: ErrorCode;
        readonly message: string;
        readonly details: Readonly<Record<string, string | number | boolean | null>>;
      };
    };

if (parentPort === null) throw new Error('picture-worker runs in a worker thread only');
const port = parentPort;
const settings = workerData as PictureSettings;

// The pool is the parallelism; libvips' own threads and its cache of operations would only add memory.
sharp.concurrency(1);
sharp.cache(false);

port.on('message', (request: PictureRequest) => {
  processPicture(request.encoded, request.label, settings).then(
    (picture) => port.postMessage({ picture } satisfies PictureReply, [picture.tiles.buffer as ArrayBuffer]),
    (error: unknown) => {
      const { code, message, details } = toAppError(error);
      port.postMessage({ error: { code, message, details } } satisfies PictureReply);
    },
  );
});
