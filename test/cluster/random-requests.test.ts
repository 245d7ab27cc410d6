// Goal: the run of many random requests over both APIs cannot rot, and can fail: a thousand end by no fault of the
// server's and leave nothing, a service that breaks is told from one that does not.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { sendRandomRequests } from '../../bench/requests/random-requests.js';
import { InferenceServiceClient } from '../../common/proto.js';
import type { GrpcGateway } from '../../coordinator/gateway/grpc-gateway.js';
import { startHttpService, type HttpService } from '../http/http-service.js';
import { startGateway } from '../support/grpc-service.js';

describe('a thousand random requests over gRPC and HTTP', function () {
  this.timeout(120_000);
  let service: HttpService;
  let gateway: GrpcGateway;
  let client: InstanceType<typeof InferenceServiceClient>;

  async function start(failAtStep: number): Promise<void> {
    service = await startHttpService({
      worldSize: 2,
      engine: { stepMs: 0, failAtStep },
      config: { prefixCaching: true, maxNumSequences: 16 },
    });
    gateway = await startGateway(service.cluster);
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  }

  afterEach(async () => {
    client.close();
    await gateway.stop(100);
    await service.stop();
  });

  const send = (count: number, idle = () => service.idle()) =>
    sendRandomRequests({
      ...{ client, httpAddress: service.gateway.address, count, seed: 3, atOnce: 32, idle },
      onProgress: () => undefined,
    });

  it('end as they should, and leave nothing', async () => {
    await start(0);
    const { endings, faults, requests } = await send(1000);
    assert.deepEqual(faults, []);
    assert.equal(
      requests,
      Object.values(endings).reduce((sum, count) => sum + count, 0),
    );
    // Both APIs have met both sides of the gate.
    for (const name of ['grpc OK', 'grpc INVALID_ARGUMENT', 'http 200', 'http 400', 'http 404'])
      assert.ok((endings[name] ?? 0) >= 5, `${name}: ${endings[name] ?? 0}`);
  });

  it('show a service that breaks', async () => {
    await start(5);
    const { faults, numFaults } = await send(200, async () => undefined);
    assert.ok(numFaults > 20);
    assert.match(faults.join('\n'), /http 503|http 500/);
    assert.match(faults.join('\n'), /grpc (UNAVAILABLE|INTERNAL)/);
  });
});
