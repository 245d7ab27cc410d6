// Whether GPU tests can run here, and why not. SKEIN_REQUIRE_GPU=1 turns a missing GPU into a failure.
import { createNativeEngine } from '../../worker/native/load-addon.js';

/** Null when there is a GPU and the addon for it. */
export async function gpuProblem(): Promise<string | null> {
  try {
    await createNativeEngine({ device: 'cuda:0', numThreads: 1, deterministic: true }).close();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** For mocha's `before`: skips the suite, with the reason, where there is no GPU. */
export async function requireGpu(context: Mocha.Context): Promise<void> {
  const problem = await gpuProblem();
  if (problem === null) return;
  if (process.env['SKEIN_REQUIRE_GPU'] === '1') throw new Error(`no GPU: ${problem}`);
  process.stderr.write(`    skipped: ${problem}\n`);
  context.skip();
}
