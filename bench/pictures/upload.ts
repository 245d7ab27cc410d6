// How long a picture of many bytes takes to a server that is far away: two network namespaces, a delay between them,
// `skein serve` in one and a client in the other (needs root). What is sent is no picture, which the server says as
// soon as it has it, so what is measured is the way and nothing behind it. Beside it the same bytes over a plain TCP
// connection: what the network itself takes.
//   node dist/bench/pictures/upload.js --megabytes 8 --round-trip 10 --rounds 20 --output FILE
import path from 'node:path';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { repoPath } from '../../test/support/paths.js';
import { SwitchedHosts, whyNoSwitchedHosts } from '../../test/support/switched-hosts.js';
import { currentCommit, describeMachine } from '../machine.js';
import { summary } from '../statistics.js';
import { writeReport } from '../write-report.js';
import type { UploadSamples } from './upload-client.js';
import { PORTS } from './upload-ports.js';

interface Flags {
  readonly megabytes: number;
  readonly roundTrip: number;
  readonly rounds: number;
  readonly output?: string;
}

const CLIENT = repoPath('dist', 'bench', 'pictures', 'upload-client.js');
const START_TIMEOUT_MS = 60_000;

async function measure({ megabytes, roundTrip, rounds }: Flags): Promise<UploadSamples> {
  const hosts = await SwitchedHosts.start(['server', 'client']);
  try {
    await hosts.pass('client', 'server', roundTrip / 2);
    await hosts.pass('server', 'client', roundTrip / 2);
    const address = hosts.address('server');
    const listening = [
      ...['--grpc-address', `${address}:${PORTS.grpc}`, '--http-address', `${address}:${PORTS.http}`],
      ...['--model', repoPath('models', 'r1v-nano'), '--device', 'cpu', '--tensor-parallel-size', '1'],
    ];
    const server = hosts.start(
      'server',
      [process.execPath, repoPath('bin', 'skein.mjs'), 'serve', ...listening],
      {},
    );
    await server.says(/^serving /m, START_TIMEOUT_MS);
    const echo = hosts.start('server', [process.execPath, CLIENT, 'plain', address], {});
    await echo.says(/listening/, START_TIMEOUT_MS);
    const numbers = [megabytes * 2 ** 20, rounds].map(String);
    const output = hosts.run('client', [process.execPath, CLIENT, 'ask', address, ...numbers]);
    return JSON.parse(output) as UploadSamples;
  } finally {
    await hosts.close();
  }
}

async function main(): Promise<void> {
  const flags = new Command()
    .option('--megabytes <n>', 'of the picture, in MiB', integerOption(1, 31), 8)
    .option('--round-trip <ms>', 'between client and server', integerOption(0, 1000), 10)
    .option('--rounds <n>', 'of each case', integerOption(1, 1000), 20)
    .option('--output <file>', 'a JSON result')
    .parse()
    .opts<Flags>();
  const reason = whyNoSwitchedHosts();
  if (reason !== null) throw new Error(reason);
  const samples = await measure(flags);
  const { output, ...settings } = flags;
  const report = {
    ...{ commit: currentCommit(), date: new Date().toISOString(), machine: describeMachine(), settings },
    ms: Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, summary(values)])),
  };
  writeReport(report, output === undefined ? undefined : path.resolve(output));
}

await main();
