// The settings of one worker process: parsed once from the command line, checked, frozen. Settings of the group (model,
// block size, types) come from the coordinator.
import { hostname } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { describedParser, integerOption } from '../common/command-line.js';
import { AppError } from '../common/errors.js';
import { checkAddress } from '../common/grpc-server.js';
import { checkClusterId, DEFAULT_CLUSTER_ID } from '../common/identity.js';
import {
  COORDINATOR_SILENCE_MS,
  DEFAULT_ORPHAN_WAIT_MS,
  MAX_ORPHAN_WAIT_MS,
  MAX_SILENCE_MS,
  MIN_SILENCE_MS,
} from '../common/limits.js';
import { addSettingsOption } from '../common/settings.js';

/** What a worker does when its coordinator is gone: end at once, or keep its weights for a while. */
export interface OrphanPolicy {
  /** 0: exit at once. */
  readonly waitMs: number;
}

export interface WorkerConfig {
  readonly workerId: string;
  /** Of the deployment: coordinators of another are refused. */
  readonly clusterId: string;
  /** Null: the coordinator dials `listen` by itself, and there is no lease. */
  readonly coordinatorAddress: string | null;
  readonly listenAddress: string;
  /** What the coordinator dials; null: the address that was bound. */
  readonly advertisedAddress: string | null;
  readonly device: string;
  /** 0: the engine decides. */
  readonly numThreads: number;
  readonly orphanPolicy: OrphanPolicy;
  /** A coordinator whose step stream is open, and says nothing for so long, is given up. */
  readonly coordinatorSilenceMs: number;
  /** The coordinator holds the other end of stdin: its end means that the coordinator is gone. */
  readonly hasLifeline: boolean;
  /** Private folder of a coordinator on this host, removed when it could not do so itself. */
  readonly runFolder: string | null;
  readonly logLevel: string | null;
}

export interface ParsedWorkerOptions {
  readonly coordinator?: string;
  readonly listen?: string;
  readonly advertise?: string;
  readonly device: string;
  readonly threads: number;
  readonly orphanPolicy: OrphanPolicy;
  readonly coordinatorSilence: number;
  readonly workerId?: string;
  readonly clusterId: string;
  readonly lifeline?: boolean;
  readonly runFolder?: string;
  readonly logLevel?: string;
}

export function createWorkerCommand(): Command {
  // Below `skein`, as its help says how it is called.
  const command = new Command('skein')
    .command('worker')
    .description('one rank on this host; the coordinator dials it back')
    .option('--coordinator <address>', 'where the coordinator takes registrations: HOST:PORT or unix:PATH')
    .option(
      '--listen <address>',
      'where this worker listens: HOST:PORT or unix:PATH (default: 127.0.0.1, any port)',
    )
    .option('--advertise <address>', 'what the coordinator dials, where it differs from --listen')
    .option('--device <device>', 'cpu or cuda:N', describedParser('device', parseDevice), 'cpu')
    .option('--threads <n>', 'threads for kernels; 0: from the number of cores', integerOption(0, 1024), 0)
    .addOption(
      new Option(
        '--orphan-policy <policy>',
        'when the coordinator is gone: exit, or wait:SECONDS with the weights kept',
      )
        .argParser(describedParser('exit or wait:SECONDS', parseOrphanPolicy))
        .default({ waitMs: DEFAULT_ORPHAN_WAIT_MS }, `wait:${DEFAULT_ORPHAN_WAIT_MS / 1000}`),
    )
    .option(
      '--coordinator-silence <seconds>',
      'a coordinator that says nothing for so long is given up; what counts where its host vanished',
      integerOption(MIN_SILENCE_MS / 1000, MAX_SILENCE_MS / 1000),
      COORDINATOR_SILENCE_MS / 1000,
    )
    .option('--worker-id <id>', 'name in the cluster (default: host and process id)')
    .option(
      '--cluster-id <id>',
      "name of the cluster; its coordinator's, which is refused with another",
      DEFAULT_CLUSTER_ID,
    )
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent')
    .addOption(new Option('--lifeline').hideHelp())
    .addOption(new Option('--run-folder <path>').hideHelp());
  return addSettingsOption(command);
}

export function toWorkerConfig(options: ParsedWorkerOptions): WorkerConfig {
  if (options.coordinator === undefined && options.listen === undefined) {
    throw new AppError('INVALID_REQUEST', 'a worker needs --coordinator, or --listen to be dialled at', {
      details: { param: 'coordinator' },
    });
  }
  const listenAddress = options.listen ?? '127.0.0.1:0';
  return Object.freeze({
    workerId: options.workerId ?? `${hostname()}-${process.pid}`,
    clusterId: checkClusterId(options.clusterId),
    coordinatorAddress:
      options.coordinator === undefined ? null : checkAddress(options.coordinator, '--coordinator'),
    listenAddress: checkAddress(listenAddress, '--listen'),
    advertisedAddress:
      options.advertise === undefined ? null : checkAddress(options.advertise, '--advertise'),
    device: options.device,
    numThreads: options.threads,
    orphanPolicy: options.orphanPolicy,
    coordinatorSilenceMs: options.coordinatorSilence * 1000,
    hasLifeline: options.lifeline === true,
    runFolder: options.runFolder ?? null,
    logLevel: options.logLevel ?? null,
  });
}

function parseDevice(value: string): string {
  if (!/^(cpu|cuda:\d{1,4})$/.test(value)) throw new InvalidArgumentError('expected cpu or cuda:N.');
  return value;
}

function parseOrphanPolicy(value: string): OrphanPolicy {
  if (value === 'exit') return { waitMs: 0 };
  const waitMs = Number(/^wait:(\d{1,15})$/.exec(value)?.[1] ?? NaN) * 1000;
  if (!(waitMs <= MAX_ORPHAN_WAIT_MS))
    throw new InvalidArgumentError(
      `expected exit or wait:SECONDS, at most wait:${MAX_ORPHAN_WAIT_MS / 1000}.`,
    );
  return { waitMs };
}
