// node dist/bench/requests/main.js: random requests over both APIs, against a whole service of this process whose
// engine is the fake one. Ends with 1 where one ends by a fault of the server's (gRPC's INTERNAL and its like, HTTP's
// 5xx), where something of a request is left, or where the heap has grown by more than GROWTH.
//   --requests N (100000)   --seed N (1)   --at-once N (64)   --output FILE (JSON)
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { InferenceServiceClient } from '../../common/proto.js';
import { startHttpService } from '../../test/http/http-service.js';
import { startGateway } from '../../test/support/grpc-service.js';
import { currentCommit, describeMachine } from '../machine.js';
import { sendRandomRequests } from './random-requests.js';

/** What compiled code and full caches may add. */
const GROWTH_MIB = 8;

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    'at-once': { type: 'string', default: '64' },
    output: { type: 'string' },
  },
});

const service = await startHttpService({
  worldSize: 2,
  engine: { stepMs: 0 },
  config: { prefixCaching: true, maxNumSequences: 16 },
});
const gateway = await startGateway(service.cluster);
const client = new InferenceServiceClient(gateway.address, grpc.credentials.createInsecure());
const startMs = performance.now();
try {
  const report = await sendRandomRequests({
    client,
    httpAddress: service.gateway.address,
    ...{ count: Number(values.requests), seed: Number(values.seed), atOnce: Number(values['at-once']) },
    idle: () => service.idle(),
    onProgress: (numDone) => {
      const seconds = Math.round((performance.now() - startMs) / 1000);
      process.stderr.write(`${numDone} requests after ${seconds} s
`);
    },
  });
  const seconds = Math.round((performance.now() - startMs) / 100) / 10;
  const result = {
    benchmark: 'random requests',
    commit: currentCommit(),
    date: new Date().toISOString(),
    machine: describeMachine(),
    seed: Number(values.seed),
    atOnce: Number(values['at-once']),
    seconds,
    ...report,
  };
  const text = `${JSON.stringify(result, null, 1)}\n`;
  process.stdout.write(text);
  if (values.output !== undefined) writeFileSync(values.output, text);
  const { early, late } = report.heapMib;
  if (report.numFaults > 0 || late > early + GROWTH_MIB) process.exitCode = 1;
} finally {
  client.close();
  await gateway.stop(100);
  await service.stop();
}
