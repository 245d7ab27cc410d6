// Goal: workers with the native engine that outlive their coordinators: weights are read once, whatever the order and
// the limits of later coordinators, and of two coordinators at once the second is refused while the first goes on. Real
// processes, all of them.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { EXIT_CODES } from '../../common/exit-codes.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GenerateResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateResponse.js';
import type { GetClusterResponse__Output } from '../../proto/ts/skein/inference/v1/GetClusterResponse.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { allGone, SkeinProcess } from '../support/skein-process.js';

const MODEL = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32', '--log-level', 'silent'];
const SKEIN = repoPath('bin', 'skein.mjs');

interface Worker {
  readonly child: ChildProcess;
  readonly address: string;
}

describe('workers that outlive their coordinators', function () {
  this.timeout(240_000);
  const workers: Worker[] = [];
  const coordinators: SkeinProcess[] = [];

  async function startWorkers(count: number): Promise<void> {
    for (let index = 0; index < count; index += 1) {
      const args = ['worker', '--listen', '127.0.0.1:0', '--worker-id', `w${index}`, '--threads', '1'];
      const child = spawn(process.execPath, [SKEIN, ...args, '--log-level', 'info'], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const address = await new Promise<string>((resolve, reject) => {
        let text = '';
        child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          const match = /"address":"([^"]+)"/.exec(text);
          if (match !== null) resolve(match[1]!);
        });
        child.once('exit', () => reject(new Error(text)));
      });
      workers.push({ child, address });
    }
  }

  async function serve(order: readonly number[], ...flags: string[]) {
    const process = startServe(order, ...flags);
    const [, address] = await process.outputMatches(/serving \S+ on (\S+)/, 60_000);
    return { process, client: new InferenceServiceClient(address!, grpc.credentials.createInsecure()) };
  }

  function startServe(order: readonly number[], ...flags: string[]): SkeinProcess {
    const addresses = order.map((index) => workers[index]!.address).join(',');
    const serve = ['serve', ...MODEL, '--grpc-address', '127.0.0.1:0', '--workers', addresses, ...flags];
    const coordinator = SkeinProcess.real(serve);
    coordinators.push(coordinator);
    return coordinator;
  }

  type Client = InstanceType<typeof InferenceServiceClient>;

  const getCluster = (client: Client) =>
    new Promise<GetClusterResponse__Output>((resolve, reject) =>
      client.getCluster({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
    );

  async function answer(client: Client, maxTokens: number, onToken?: () => void): Promise<number[]> {
    const call = client.generate({ promptTokenIds: [5, 6, 7], sampling: { maxTokens, ignoreEos: true } });
    const tokens: number[] = [];
    call.on('data', ({ tokenIds }: GenerateResponse__Output) => {
      tokens.push(...tokenIds);
      onToken?.();
    });
    await new Promise((resolve, reject) => call.on('end', resolve).on('error', reject));
    return tokens;
  }

  afterEach(async () => {
    for (const coordinator of coordinators.splice(0)) await coordinator.killed();
    const pids = workers.map(({ child }) => child.pid!);
    for (const { child } of workers.splice(0)) child.kill('SIGKILL');
    await allGone(pids, 5_000);
  });

  it('read no weight again in another order, with other limits', async () => {
    await startWorkers(2);
    const seen: { pids: number[]; readBytes: number[]; tokens: number[]; epoch: bigint }[] = [];
    for (const [order, ...flags] of [
      [[0, 1]],
      [[1, 0], '--max-num-sequences', '5'],
      [[1, 0], '--max-step-tokens', '64', '--max-model-length', '128'],
    ] as [number[], ...string[]][]) {
      const { process, client } = await serve(order, ...flags);
      const { ranks, groupEpoch } = await getCluster(client);
      seen.push({
        pids: ranks.map(({ pid }) => pid),
        readBytes: ranks.map(({ readBytes }) => Number(readBytes)),
        tokens: await answer(client, 12),
        epoch: BigInt(groupEpoch),
      });
      client.close();
      process.child.kill('SIGTERM');
      assert.equal((await process.exited).code, 0);
    }
    const [first, ...later] = seen;
    assert.ok(first!.readBytes.every((bytes) => bytes > 10_000));
    for (const again of later) {
      assert.deepEqual(again.readBytes, [0, 0]);
      assert.deepEqual(again.pids, first!.pids);
      assert.deepEqual(again.tokens, first!.tokens);
    }
    assert.ok(seen[0]!.epoch < seen[1]!.epoch && seen[1]!.epoch < seen[2]!.epoch);
  });

  it('refuse a second coordinator while the first serves, which goes on', async () => {
    await startWorkers(2);
    const { client } = await serve([0, 1]);
    const before = await getCluster(client);
    const expected = await answer(client, 100);
    let onFirst: () => void;
    const begun = new Promise<void>((resolve) => (onFirst = resolve));
    const running = answer(client, 100, () => onFirst());
    await begun;
    const second = startServe([0, 1]);
    assert.equal((await second.exited).code, EXIT_CODES.refused.code);
    assert.match(second.stderr, /^skein: WORKER_TAKEN: .*serves another coordinator, in epoch \d+/m);
    assert.equal(second.stderr.match(/^skein: /gm)?.length, 1);
    assert.deepEqual(await running, expected);
    assert.deepEqual(await answer(client, 100), expected);
    assert.equal((await getCluster(client)).groupEpoch, before.groupEpoch);
    client.close();
  });

  it('are read by their processes only once, which the system counts too', async function () {
    await startWorkers(1);
    const bytesRead = (): number => {
      const io = readFileSync(`/proc/${workers[0]!.child.pid}/io`, 'utf8');
      return Number(/^rchar: (\d+)$/m.exec(io)![1]);
    };
    const counts = [bytesRead()];
    for (const flags of [[], ['--max-num-sequences', '3']]) {
      const { process, client } = await serve([0], ...flags);
      counts.push(bytesRead());
      client.close();
      process.child.kill('SIGTERM');
      await process.exited;
    }
    const [first, second] = [counts[1]! - counts[0]!, counts[2]! - counts[1]!];
    // The messages of the second load are there, its weights are not.
    assert.ok(second < first / 2, `read ${first} bytes, then ${second}`);
  });
});
