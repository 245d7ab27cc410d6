// Goal: a worker that asks at the wrong port is told which address it asked and what it should be.
import assert from 'node:assert/strict';
import { bindServer, createGrpcServer, stopServer } from '../../../common/grpc-server.js';
import { openGrpcClusterTransport } from '../../../worker/cluster-transport.js';

describe('the way to a coordinator', () => {
  it('is refused for good by a server that takes no registrations', async () => {
    // As the port of clients, it serves something else.
    const server = createGrpcServer({ maxMessageBytes: 1024, maxConcurrentStreams: 1 });
    const address = await bindServer(server, '127.0.0.1:0');
    const transport = openGrpcClusterTransport(address);
    try {
      await assert.rejects(transport.register({}), {
        code: 'JOIN_REJECTED',
        message: `nobody takes registrations of workers at ${address}: is it the coordinator's --cluster-address?`,
      });
    } finally {
      transport.close();
      await stopServer(server, 0);
    }
  });
});
