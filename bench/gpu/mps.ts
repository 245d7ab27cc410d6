// NVIDIA's multi-process service for as long as a benchmark needs it: without it ranks that share a GPU take turns.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const QUIT_TIMEOUT_MS = 15_000;

export class Mps {
  /** For the processes that are to share the GPU. */
  readonly environment: Readonly<Record<string, string>>;

  private constructor(readonly folder: string) {
    this.environment = { CUDA_MPS_PIPE_DIRECTORY: folder, CUDA_MPS_LOG_DIRECTORY: folder };
  }

  /** Null where there is no such service, or it does not start. */
  static start(): Promise<Mps | null> {
    const mps = new Mps(mkdtempSync(path.join(tmpdir(), 'skein-mps-')));
    const { status } = spawnSync('nvidia-cuda-mps-control', ['-d'], {
      env: { ...process.env, ...mps.environment },
      stdio: 'ignore',
    });
    if (status === 0) return Promise.resolve(mps);
    rmSync(mps.folder, { recursive: true, force: true });
    return Promise.resolve(null);
  }

  async stop(): Promise<void> {
    spawnSync('nvidia-cuda-mps-control', {
      env: { ...process.env, ...this.environment },
      input: 'quit\n',
      stdio: ['pipe', 'ignore', 'ignore'],
      timeout: QUIT_TIMEOUT_MS,
    });
    // The server lets go of the GPU a moment after it says so.
    await new Promise((resolve) => setTimeout(resolve, 500));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
