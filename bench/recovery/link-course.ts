// A coordinator and its workers on hosts of their own (network namespaces), a spare among them, and faults of the ways
// between them under load, in an order that a seed draws.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Random } from '../../test/simulator/random.js';
import { SkeinProcess } from '../../test/support/skein-process.js';
import { SwitchedHosts } from '../../test/support/switched-hosts.js';
import { meet, sleep, until, type FaultResult } from './faults.js';
import { COORDINATOR, drawLinkFault, type LinkFaultKind } from './link-faults.js';
import { NANO_MODEL, questions } from './questions.js';
import type { RecoveryRun } from './run.js';
import { Served } from './served.js';
import { SteadyLoad, underLoad } from './steady-load.js';

export interface LinkCourseOptions {
  readonly worldSize: number;
  /** Workers beyond the ranks, which take the place of those that cannot be reached. */
  readonly numSpares: number;
  readonly numStreams: number;
  readonly seed: number;
  readonly counts: Readonly<Partial<Record<LinkFaultKind, number>>>;
  readonly onFault?: (result: FaultResult) => void;
}

const CLUSTER_PORT = 50_050;

/** Throws where a fault leads to nothing. */
export async function runLinkCourse(options: LinkCourseOptions): Promise<RecoveryRun> {
  const workers = Array.from({ length: options.worldSize + options.numSpares }, (_, index) => `w${index}`);
  const hosts = await SwitchedHosts.start([COORDINATOR, ...workers]);
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-links-'));
  const standing = workers.map((name) => new StandingWorker(hosts, name));
  const served = serve(hosts, folder, options.worldSize);
  try {
    await served.ready();
    return await run(options, hosts, served);
  } finally {
    await hosts.mend();
    await served.stop();
    for (const worker of standing) await worker.stop();
    await hosts.close();
    rmSync(folder, { recursive: true });
  }
}

async function run(options: LinkCourseOptions, hosts: SwitchedHosts, served: Served): Promise<RecoveryRun> {
  const random = new Random(options.seed);
  const load = new SteadyLoad(served.client, questions(), options.numStreams, random);
  const left = Object.entries(options.counts).flatMap(([kind, count]) =>
    Array<LinkFaultKind>(count).fill(kind as LinkFaultKind),
  );
  const faults: FaultResult[] = [];
  const totals = await underLoad(load, async () => {
    while (left.length > 0) {
      const [kind] = left.splice(random.integer(0, left.length - 1), 1);
      const { ranks } = await served.cluster();
      const names = ranks.map(({ workerId }) => workerId);
      const result = await meet(drawLinkFault(kind!, hosts, names, random), served, load, random);
      faults.push(result);
      options.onFault?.(result);
      // Who was away is to be a spare again before the next one goes.
      await until(() => served.registered.size === hosts.names.length - 1, served);
      await sleep(random.real(0, 300));
    }
  });
  return { faults, totals };
}

function serve(hosts: SwitchedHosts, folder: string, worldSize: number): Served {
  const flags = [
    ...['--model', NANO_MODEL, '--tensor-parallel-size', String(worldSize)],
    ...['--grpc-address', `unix:${folder}/s.sock`],
    ...['--cluster-address', `${hosts.address(COORDINATOR)}:${CLUSTER_PORT}`],
    // Namespaces share their memory, hosts do not.
    ...['--collective', 'gloo'],
  ];
  return new Served(flags, { namespace: hosts.namespace(COORDINATOR) });
}

/** Started again whenever it ends, as a service manager does. */
class StandingWorker {
  readonly #start: () => SkeinProcess;
  #process: SkeinProcess;
  #isStopping = false;

  constructor(hosts: SwitchedHosts, name: string) {
    this.#start = () => {
      const where = ['--coordinator', `${hosts.address(COORDINATOR)}:${CLUSTER_PORT}`];
      const args = ['worker', ...where, '--listen', `${hosts.address(name)}:0`, '--worker-id', name];
      const started = SkeinProcess.real([...args, '--threads', '1'], { namespace: hosts.namespace(name) });
      void started.exited.then(() => {
        if (!this.#isStopping) this.#process = this.#start();
      });
      return started;
    };
    this.#process = this.#start();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#process.killed();
  }
}
