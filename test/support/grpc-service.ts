// The public gRPC service over a cluster with the fake engine, and a client of it, for a whole suite.
import assert from 'node:assert/strict';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import { GrpcGateway, type GrpcGatewayOptions } from '../../coordinator/gateway/grpc-gateway.js';
import type { GenerateOnceResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import type { GenerateRequest } from '../../proto/ts/skein/inference/v1/GenerateRequest.js';
import { silentLogger, startInProcess, type FakeCluster, type FakeClusterOptions } from './fake-cluster.js';

export interface GrpcService {
  readonly cluster: FakeCluster;
  readonly gateway: GrpcGateway;
  readonly client: InstanceType<typeof InferenceServiceClient>;
  readonly once: (request: GenerateRequest) => Promise<GenerateOnceResponse__Output>;
  /** Resolves when no request is left and all blocks are free. */
  readonly idle: () => Promise<void>;
}

/** The public gRPC service over a cluster that is started already. */
export function startGateway(
  { serving }: Pick<FakeCluster, 'serving'>,
  options: Pick<GrpcGatewayOptions, 'stalledReaderMs'> = {},
): Promise<GrpcGateway> {
  return GrpcGateway.start({
    ...options,
    address: '127.0.0.1:0',
    engine: serving.engine,
    model: () => serving.model,
    cluster: () => serving.cluster(),
    requestMemoryBytes: 2 ** 29,
    logger: silentLogger,
  });
}

/** Called in a suite: its hooks start the service and end it. */
export function useGrpcService(options: FakeClusterOptions): GrpcService {
  let cluster: FakeCluster;
  let gateway: GrpcGateway;
  let client: GrpcService['client'];

  before(async () => {
    cluster = await startInProcess(options);
    gateway = await startGateway(cluster);
    client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
  });

  after(async () => {
    client.close();
    await gateway.stop(100);
    await cluster.stop();
  });

  return {
    get cluster() {
      return cluster;
    },
    get gateway() {
      return gateway;
    },
    get client() {
      return client;
    },
    once: (request) =>
      new Promise((resolve, reject) => {
        client.generateOnce({ request }, (error, value) =>
          error === null ? resolve(value!) : reject(error),
        );
      }),
    idle: async () => {
      const deadline = Date.now() + 10_000;
      const facts = () => cluster.serving.cluster();
      while (
        cluster.serving.engine.requests.size > 0 ||
        facts().numRunning > 0 ||
        facts().numFreeKvBlocks < facts().numKvBlocks
      ) {
        assert.ok(Date.now() < deadline, 'requests end and blocks are freed');
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}
