// The settings of what follows the loss of a group, as flags of `serve`.
import { Option, type Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { DEFAULT_REJOIN_TIMEOUT_MS, MAX_WORLD_SIZE } from '../../common/limits.js';
import { RESTART_POLICIES, type RestartPolicy } from '../engine/supervisor.js';
import type { ServingOptions } from '../serving/serving.js';

export interface RestartFlags {
  readonly restartPolicy: RestartPolicy;
  readonly rejoinTimeout: number;
  readonly minTensorParallelSize?: number;
}

export function addRestartOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--restart-policy <policy>',
        'after the loss of a worker: epoch, the group is formed again and requests go on; none, they end and so does ' +
          'the server',
      )
        .choices(RESTART_POLICIES)
        .default('epoch'),
    )
    .option(
      '--rejoin-timeout <seconds>',
      'how long a lost worker is waited for',
      integerOption(1, 86_400),
      DEFAULT_REJOIN_TIMEOUT_MS / 1000,
    )
    .option(
      '--min-tensor-parallel-size <n>',
      'where a lost worker has not come back in that time, the group goes on with fewer ranks, down to so many ' +
        '(default: the server ends)',
      integerOption(1, MAX_WORLD_SIZE),
    );
}

export function toRestartOptions(
  flags: RestartFlags,
): Required<Pick<ServingOptions, 'restartPolicy' | 'rejoinTimeoutMs' | 'minTensorParallelSize'>> {
  const { restartPolicy, rejoinTimeout, minTensorParallelSize = null } = flags;
  return { restartPolicy, rejoinTimeoutMs: rejoinTimeout * 1000, minTensorParallelSize };
}
