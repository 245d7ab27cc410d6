// The JSON body of a request, read within the budget of bytes that the server holds: told from Content-Length before
// any of it arrives, or as it arrives.
import { isAscii, isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { AppError } from '../../../common/errors.js';
import { addExactSeed } from './exact-seed.js';
import type { BudgetShare } from './http-call.js';
import { HttpRequestError } from './http-errors.js';

/** Throws INVALID_REQUEST, QUEUE_FULL where the budget has no room for it, or CANCELLED. */
export async function readJsonBody(request: IncomingMessage, share: BudgetShare): Promise<unknown> {
  const encoding = request.headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity')
    throw new HttpRequestError(415, `content-encoding ${encoding.slice(0, 50)} is not supported`);
  const bytes = await readAll(request, share);
  if (bytes.byteLength === 0) throw new AppError('INVALID_REQUEST', 'the body is empty: JSON is expected');
  if (!isUtf8(bytes)) throw new AppError('INVALID_REQUEST', 'the body is not UTF-8');
  // Bodies with pictures are large and ASCII, which is read much faster where that is known.
  const text = bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
  const body = parse(text);
  addExactSeed(body, text);
  return body;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message.slice(0, 200) : '';
    throw new AppError('INVALID_REQUEST', `the body is not JSON: ${reason}`);
  }
}

async function readAll(request: IncomingMessage, share: BudgetShare): Promise<Buffer> {
  const announced = request.headers['content-length'];
  if (announced !== undefined) share.growTo(Number(announced));
  const chunks: Buffer[] = [];
  let numBytes = 0;
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      numBytes += chunk.byteLength;
      share.growTo(numBytes);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('CANCELLED', 'the client closed the connection', { cause: error });
  }
  return Buffer.concat(chunks, numBytes);
}
