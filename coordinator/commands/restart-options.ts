// The settings of what follows the loss of a group, as flags of `serve`.
import { Option, type Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { RESTART_POLICIES, type RestartPolicy } from '../engine/supervisor.js';
import type { ServingOptions } from '../serving/serving.js';

export interface RestartFlags {
  readonly restartPolicy: RestartPolicy;
  readonly rejoinTimeout: number;
}

const DEFAULT_REJOIN_TIMEOUT_SECONDS = 600;

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
      'how long a lost worker of --workers or --cluster-address is waited for',
      integerOption(1, 86_400),
      DEFAULT_REJOIN_TIMEOUT_SECONDS,
    );
}

export function toRestartOptions(
  flags: RestartFlags,
): Required<Pick<ServingOptions, 'restartPolicy' | 'rejoinTimeoutMs'>> {
  return { restartPolicy: flags.restartPolicy, rejoinTimeoutMs: flags.rejoinTimeout * 1000 };
}
