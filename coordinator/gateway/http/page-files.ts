// The files of the page, as the build left them: read once, each with its type, a tag of what is in it, and compressed
// for who takes that.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { AppError, toAppError } from '../../../common/errors.js';

/** Of dist, beside this module. */
const SITE = fileURLToPath(new URL('../../../page/site/', import.meta.url));
export const PAGE_DOCUMENT = 'index.html';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
};

export interface PageFile {
  readonly type: string;
  /** As ETag has it, quotes and all. */
  readonly tag: string;
  readonly bytes: Buffer;
  readonly gzipped: Buffer;
}

/** By name, the document among them. Throws SETUP_INCOMPLETE where the page has not been built. */
export function readPageFiles(folder = SITE): ReadonlyMap<string, PageFile> {
  try {
    const names = readdirSync(folder);
    if (!names.includes(PAGE_DOCUMENT)) throw new Error(`there is no ${PAGE_DOCUMENT}`);
    return new Map(names.map((name) => [name, readPageFile(path.join(folder, name))]));
  } catch (error) {
    const reason = toAppError(error).message;
    throw new AppError(
      'SETUP_INCOMPLETE',
      `the page has not been built (${reason}): npm run build builds it; --no-page goes without`,
      { cause: error },
    );
  }
}

function readPageFile(file: string): PageFile {
  const bytes = readFileSync(file);
  return {
    type: TYPES[path.extname(file)] ?? 'application/octet-stream',
    tag: `"${createHash('sha256').update(bytes).digest('hex').slice(0, 16)}"`,
    bytes,
    gzipped: gzipSync(bytes),
  };
}
