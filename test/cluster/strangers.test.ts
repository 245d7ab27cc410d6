// Goal: a worker's port is open to its network. Whoever talks to it and is not the coordinator (other protocols, frames
// that are cut, wrong arguments, old epochs) is refused or closed, and the epoch that runs there goes on.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { ERROR_CODE_KEY } from '../../common/grpc-status.js';
import { WorkerServiceClient, workerServiceDefinition } from '../../common/proto.js';
import { generateWhole } from '../../coordinator/engine/generate.js';
import { startInProcess, type FakeCluster } from '../support/fake-cluster.js';
import {
  END_HEADERS,
  frame,
  FRAME,
  grpcMessage,
  headerBlock,
  HostileConnection,
  rawGrpcCall,
} from '../support/raw-http2.js';

const EXECUTE = '/skein.worker.v1.WorkerService/Execute';
const NEIGHBOUR_TOKENS = 300;

const epochOf = ({ serving }: FakeCluster): string => String(serving.cluster().groupEpoch);

describe('strangers at the ports of workers', function () {
  this.timeout(60_000);
  let cluster: FakeCluster;
  let alone: readonly number[];
  let epoch: string;

  before(async () => {
    cluster = await startInProcess({ worldSize: 2, engine: { stepMs: 1 } });
    alone = await answer();
    epoch = epochOf(cluster);
  });
  after(() => cluster.stop());

  async function answer(): Promise<readonly number[]> {
    const prompt = { kind: 'tokens' as const, tokenIds: Uint32Array.of(5, 6, 7), pictures: [] };
    const spec = { requestId: '', prompt, sampling: { maxTokens: NEIGHBOUR_TOKENS, ignoreEos: true } };
    return (await generateWhole(cluster.serving.engine, spec, new AbortController().signal)).tokenIds;
  }

  /** What `stranger` does costs an answer that is under way nothing, and no epoch. */
  async function beside(stranger: (address: string) => Promise<void>): Promise<void> {
    const answered = answer();
    await Promise.all(cluster.workerAddresses.map(stranger));
    assert.deepEqual(await answered, alone);
    assert.equal(epochOf(cluster), epoch, 'the epoch is the same');
  }

  async function sendBytes(address: string, bytes: Buffer): Promise<void> {
    const colon = address.lastIndexOf(':');
    const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon));
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(bytes);
    await once(socket, 'close');
  }

  const head = frame(
    FRAME.headers,
    END_HEADERS,
    1,
    headerBlock({
      ...{ ':method': 'POST', ':scheme': 'http', ':path': EXECUTE, ':authority': 'x' },
      ...{ 'content-type': 'application/grpc', te: 'trailers' },
    }),
  );
  const opening = (fence: object): Buffer =>
    workerServiceDefinition.Execute.requestSerialize({ open: fence });
  const fence = { clusterId: 'default', coordinatorIncarnation: 7, groupEpoch: 1, workerIncarnation: 1 };

  it('who speak another protocol', () =>
    beside(async (address) => {
      await sendBytes(address, Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
      await sendBytes(address, Buffer.from([0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]));
      await sendBytes(address, Buffer.alloc(100_000, 0x5a));
    }));

  it('whose frames are cut, or are nothing', () =>
    beside(async (address) => {
      const whole = Buffer.concat([head, frame(FRAME.data, 0, 1, grpcMessage(opening(fence)))]);
      for (let length = 1; length < whole.byteLength; length += 7) {
        const connection = await HostileConnection.open(address);
        await connection.send(whole.subarray(0, length));
        await connection.close();
      }
      for (const bytes of [Buffer.alloc(20, 255), Buffer.of(10, 255, 255, 255, 255, 15), Buffer.alloc(0)]) {
        const { grpcStatus } = await rawGrpcCall(address, EXECUTE, grpcMessage(bytes));
        assert.notEqual(grpcStatus, grpc.status.OK);
      }
      const announced = Buffer.concat([Buffer.of(0, 255, 255, 255, 255), opening(fence)]);
      assert.equal(
        (await rawGrpcCall(address, EXECUTE, announced)).grpcStatus,
        grpc.status.RESOURCE_EXHAUSTED,
      );
    }));

  it('who mean another cluster, process or epoch, or bring plans that nobody opened', () =>
    beside(async (address) => {
      const client = new WorkerServiceClient(address, grpc.credentials.createInsecure());
      const { workerIncarnation } = await new Promise<{ workerIncarnation: string }>((resolve, reject) =>
        client.describe({}, (error, value) => (error === null ? resolve(value!) : reject(error))),
      );
      const known = { ...fence, workerIncarnation };
      const cases: [what: string, first: object, code: string][] = [
        ['another cluster', { open: { ...known, clusterId: 'other' } }, 'JOIN_REJECTED'],
        ['another process', { open: { ...known, workerIncarnation: 5 } }, 'WORKER_LOST'],
        ['another coordinator', { open: { ...known, groupEpoch: '999999999999999' } }, 'WORKER_TAKEN'],
        ['a plan without an epoch', { plan: { step: 1 } }, 'INVALID_REQUEST'],
      ];
      for (const [what, first, code] of cases) {
        const call = client.execute();
        call.on('data', () => undefined);
        const ended = new Promise<grpc.ServiceError>((resolve) => call.on('error', resolve));
        call.write(first);
        const error = await ended;
        assert.equal(String(error.metadata.get(ERROR_CODE_KEY)[0]), code, `${what}: ${error.message}`);
        call.end();
      }
      client.close();
    }));
});
