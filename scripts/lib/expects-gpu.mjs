// Whether this machine has an NVIDIA GPU, so that tests which find none have failed rather than been skipped.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const TIMEOUT_MS = 20_000;

const thisMachine = {
  exists: existsSync,
  listsGpus: () => {
    const result = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8', timeout: TIMEOUT_MS });
    return result.status === 0 && /^GPU \d+:/m.test(result.stdout);
  },
};

export function expectsGpu(env = process.env, machine = thisMachine) {
  return env['SKEIN_REQUIRE_GPU'] === '1' || machine.exists('/dev/nvidiactl') || machine.listsGpus();
}
