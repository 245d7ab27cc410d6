// NCCL's network interface follows the address that the coordinator reaches, and the user's word goes before it.
import assert from 'node:assert/strict';
import { chooseNcclInterface, interfaceOf } from '../../../worker/nccl-interface.js';

const INTERFACES = {
  lo: [
    { address: '127.0.0.1', internal: true },
    { address: '::1', internal: true },
  ],
  eth0: [{ address: '10.0.0.5', internal: false }],
  ib0: [
    { address: '192.168.7.2', internal: false },
    { address: 'fd00::2', internal: false },
  ],
};

describe("NCCL's network interface", () => {
  it('is the one with the address', () => {
    assert.equal(interfaceOf('192.168.7.2', INTERFACES), 'ib0');
    assert.equal(interfaceOf('fd00::2', INTERFACES), 'ib0');
    assert.equal(interfaceOf('10.0.0.6', INTERFACES), null);
    assert.equal(interfaceOf('127.0.0.1', INTERFACES), null);
  });

  it('is set by its whole name, unless the user has set it', async () => {
    const env: NodeJS.ProcessEnv = {};
    await chooseNcclInterface('10.0.0.5', env, INTERFACES);
    assert.equal(env['NCCL_SOCKET_IFNAME'], '=eth0');
    await chooseNcclInterface('192.168.7.2', env, INTERFACES);
    assert.equal(env['NCCL_SOCKET_IFNAME'], '=eth0');
    const own: NodeJS.ProcessEnv = { NCCL_SOCKET_IFNAME: 'ib' };
    await chooseNcclInterface('10.0.0.5', own, INTERFACES);
    assert.equal(own['NCCL_SOCKET_IFNAME'], 'ib');
  });

  it('is left to NCCL where the address tells nothing', async () => {
    for (const host of ['', '127.0.0.1', 'localhost', '10.9.9.9']) {
      const env: NodeJS.ProcessEnv = {};
      await chooseNcclInterface(host, env, INTERFACES);
      assert.deepEqual(env, {}, host);
    }
  });
});
