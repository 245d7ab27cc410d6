// Which network interface NCCL takes for the group: the one with the address that the coordinator reaches this worker
// at, unless the user has chosen. NCCL reads its environment once in a process, at its first use.
import { lookup } from 'node:dns/promises';
import { networkInterfaces } from 'node:os';

type Interfaces = Readonly<
  Record<string, readonly { readonly address: string; readonly internal: boolean }[] | undefined>
>;

/**
 * Null where there is nothing to choose: no interface of this machine has the address (it lies behind a translation),
 * or it is the machine's own, which says nothing of how other hosts are reached.
 */
export function interfaceOf(address: string, interfaces: Interfaces): string | null {
  for (const [name, entries] of Object.entries(interfaces)) {
    const found = entries?.find((entry) => entry.address === address);
    if (found !== undefined) return found.internal ? null : name;
  }
  return null;
}

/** `bindHost`: address or name, as in PrepareGroupRequest. */
export async function chooseNcclInterface(
  bindHost: string,
  env: NodeJS.ProcessEnv = process.env,
  interfaces: Interfaces = networkInterfaces(),
): Promise<void> {
  const chosen = env['NCCL_SOCKET_IFNAME'];
  if (bindHost === '' || (chosen !== undefined && chosen !== '')) return;
  const addresses = await lookup(bindHost, { all: true }).catch(() => []);
  const name = addresses
    .map(({ address }) => interfaceOf(address, interfaces))
    .find((found) => found !== null);
  // With = it is the whole name; else it would be the beginning of one.
  if (name !== undefined && name !== null) env['NCCL_SOCKET_IFNAME'] = `=${name}`;
}
