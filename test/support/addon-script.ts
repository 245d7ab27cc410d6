// Runs a piece of JavaScript with the addon in a process of its own, for what ends a process or must not keep it.
import { spawn } from 'node:child_process';

import { repoRoot } from './paths.js';

export interface ScriptOutcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly wallMs: number;
}

const TIMEOUT_MS = 30_000;

/**
 * `body` sees createNativeEngine, LocalGroup, readCheckpoint, makeShardPlan, the plan makers, and `golden` (tiny-text's
 * checkpoint). --expose-gc is on.
 */
export function runAddonScript(body: string): Promise<ScriptOutcome> {
  const script = `
    import { createNativeEngine } from './dist/worker/native/native-engine.js';
    import { readCheckpoint } from './dist/coordinator/checkpoint/checkpoint.js';
    import { makeShardPlan } from './dist/coordinator/sharding/make-shard-plan.js';
    import * as plans from './dist/test/support/native-plans.js';
    import { LocalGroup } from './dist/test/support/local-group.js';
    const golden = await readCheckpoint('test/golden/tiny-text');
    const options = { device: 'cpu', numThreads: 1, deterministic: true };
    ${body}
  `;
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '--eval', script], {
      cwd: repoRoot,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout, stderr, wallMs: performance.now() - start }),
    );
  });
}
