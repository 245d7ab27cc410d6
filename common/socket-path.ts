// The path of a Unix socket before a server binds it: a socket that a killed server left there is removed, one that
// somebody listens at never is, whoever else starts at the same time.
import { accessSync, constants, linkSync, lstatSync, renameSync, unlinkSync, type Stats } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { AppError } from './errors.js';

/**
 * Between the two questions whether anybody listens: a server that is just starting binds a moment before it listens.
 */
const SETTLE_MS = 100;

/**
 * Leaves nothing at `path`, or throws INVALID_REQUEST: somebody listens there, or it is no socket, or its folder is
 * none that can be written, or it cannot be told. Binding is still to be tried by the caller: it fails where another
 * server was faster, and takes nothing from it.
 */
export async function clearSocketPath(path: string): Promise<void> {
  const stats = statsOf(path);
  if (stats === undefined) return;
  if (!stats.isSocket()) throw taken(path, 'there is a file that is no socket');
  if (await isListening(path)) throw taken(path, 'another process listens there');
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  if (await isListening(path)) throw taken(path, 'another process listens there');
  await removeStale(path);
}

/** Undefined: there is nothing, in a folder that can be written. */
function statsOf(path: string): Stats | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) accessSync(dirname(path), constants.W_OK | constants.X_OK);
    return stats;
  } catch (error) {
    throw taken(path, (error as Error).message);
  }
}

/**
 * Takes the socket away by a rename, which only one starter can do, and looks again: what another starter put there
 * goes back.
 */
async function removeStale(path: string): Promise<void> {
  // Short: a socket's path may have 107 bytes.
  const aside = join(dirname(path), `.${process.pid.toString(36)}`);
  try {
    renameSync(path, aside);
  } catch (error) {
    // Another starter removed it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw taken(path, `the socket that nobody listens at cannot be removed: ${(error as Error).message}`);
  }
  const belongsToAnother = await isListening(aside).catch(() => true);
  if (belongsToAnother) {
    try {
      linkSync(aside, path);
    } catch {
      // A third starter has the path by now.
    }
  }
  unlinkSync(aside);
  if (belongsToAnother) throw taken(path, 'another process listens there');
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // It listens, with more callers waiting than it takes.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(taken(path, `whether anybody listens there cannot be told: ${error.message}`));
    });
  });
}

function taken(path: string, reason: string): AppError {
  return new AppError('INVALID_REQUEST', `cannot listen on unix:${path}: ${reason}`);
}
