// Loading, as it is seen on stderr: a bar on a terminal, a line per quarter elsewhere.
import cliProgress from 'cli-progress';
import { standardError } from '../../common/standard-error.js';
import type { LoadProgress } from '../executor/form-group.js';

const MIB = 1024 * 1024;
const LINE_EVERY_PERCENT = 25;

export interface ProgressDisplay {
  update(progress: LoadProgress): void;
  stop(): void;
}

export function createProgressDisplay(worldSize: number, isSilent: boolean): ProgressDisplay {
  if (isSilent) return { update: () => undefined, stop: () => undefined };
  return process.stderr.isTTY ? createBar(worldSize) : createLines(worldSize);
}

function createBar(worldSize: number): ProgressDisplay {
  const bar = new cliProgress.SingleBar({
    format: `loading |{bar}| {percentage}% | {mib} MiB | {ready} of ${worldSize} ranks`,
    stream: process.stderr,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: false,
  });
  let isStarted = false;
  let isStopped = false;
  return {
    update({ loadedBytes, totalBytes, numRanksReady }) {
      // A group that is formed again says so in the log.
      if (isStopped) return;
      const payload = { mib: (loadedBytes / MIB).toFixed(0), ready: numRanksReady };
      if (!isStarted) bar.start(Math.max(totalBytes, 1), 0, payload);
      isStarted = true;
      bar.setTotal(Math.max(totalBytes, 1));
      bar.update(loadedBytes, payload);
    },
    stop() {
      isStopped = true;
      if (isStarted) bar.stop();
    },
  };
}

function createLines(worldSize: number): ProgressDisplay {
  let nextPercent = LINE_EVERY_PERCENT;
  return {
    update({ loadedBytes, totalBytes, numRanksReady }) {
      const percent = totalBytes === 0 ? 0 : Math.floor((100 * loadedBytes) / totalBytes);
      if (percent < nextPercent) return;
      while (nextPercent <= percent) nextPercent += LINE_EVERY_PERCENT;
      const mib = (loadedBytes / MIB).toFixed(0);
      standardError.write(`loading: ${percent} %, ${mib} MiB, ${numRanksReady} of ${worldSize} ranks\n`);
    },
    stop: () => undefined,
  };
}
