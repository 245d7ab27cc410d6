// Whether GPU tests can run here, and why not; on which GPUs and at which world sizes. SKEIN_REQUIRE_GPU=1 turns a
// missing GPU into a failure; SKEIN_GPU_DEVICES=N gives rank r the GPU r % N (default: one GPU for all),
// SKEIN_GPU_WORLD_SIZES=2,8 other world sizes, SKEIN_GPU_ROUNDS=5 asks every golden case five times.
import { createNativeEngine } from '../../worker/native/native-engine.js';

/** Null when there is a GPU and the addon for it. */
async function gpuProblem(): Promise<string | null> {
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

const DEFAULT_WORLD_SIZES: readonly number[] = [1, 2, 4];

/** For tests of whole groups. */
export function gpuWorldSizes(env: NodeJS.ProcessEnv = process.env): readonly number[] {
  const asked = env['SKEIN_GPU_WORLD_SIZES'];
  return asked === undefined ? DEFAULT_WORLD_SIZES : asked.split(',').map((text) => positive(text));
}

/** The device of each rank. */
export function gpuDevices(worldSize: number, env: NodeJS.ProcessEnv = process.env): readonly string[] {
  const numDevices = positive(env['SKEIN_GPU_DEVICES'] ?? '1');
  return Array.from({ length: worldSize }, (_, rank) => `cuda:${rank % numDevices}`);
}

/** How often a group answers each golden case: what is wrong now and then shows only in many answers. */
export function gpuRounds(env: NodeJS.ProcessEnv = process.env): number {
  return positive(env['SKEIN_GPU_ROUNDS'] ?? '1');
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new Error(`${text}: not a whole number above 0`);
  return number;
}
