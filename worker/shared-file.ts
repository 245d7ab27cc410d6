// Reads what another process of this host holds open for us.
import { closeSync, fstatSync, openSync, read } from 'node:fs';
import type { SharedFile__Output } from '../proto/ts/skein/worker/v1/SharedFile.js';

/**
 * False where this process does not see that file, or it has another size than `bytes`. Only the copy of the bytes
 * leaves the thread: the other calls take microseconds.
 */
export async function readSharedFile(file: SharedFile__Output, bytes: Uint8Array): Promise<boolean> {
  let descriptor: number | null = null;
  try {
    descriptor = openSync(`/proc/${file.processId}/fd/${file.descriptor}`, 'r');
    const { dev, ino, size } = fstatSync(descriptor, { bigint: true });
    if (String(dev) !== file.device || String(ino) !== file.inode) return false;
    if (size !== BigInt(bytes.byteLength)) return false;
    for (let offset = 0; offset < bytes.byteLength;) {
      const numBytes = await readAt(descriptor, bytes, offset);
      if (numBytes === 0) return false;
      offset += numBytes;
    }
    return true;
  } catch {
    return false;
  } finally {
    if (descriptor !== null) closeSync(descriptor);
  }
}

function readAt(descriptor: number, bytes: Uint8Array, offset: number): Promise<number> {
  return new Promise((resolve, reject) =>
    read(descriptor, bytes, offset, bytes.byteLength - offset, offset, (error, numBytes) =>
      error === null ? resolve(numBytes) : reject(error),
    ),
  );
}
