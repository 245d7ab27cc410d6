// Which hosts and addresses pictures may be fetched from. A host must be named by the operator; an address must be one
// of the public internet, unless the operator names it or its range: else a name that resolves to a private address, or
// a redirect to one, would let clients look into the server's own network.
import { BlockList, isIP } from 'node:net';
import { AppError } from '../../../common/errors.js';

/** What is not public: IANA's special-purpose registries, multicast, and the translations of IPv4 into IPv6. */
const SPECIAL_RANGES = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12'],
  ...[
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.31.196.0/24',
    '192.52.193.0/24',
    '192.88.99.0/24',
    '192.168.0.0/16',
  ],
  ...['192.175.48.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
  ...[
    '::/96',
    '::ffff:0:0:0/96',
    '64:ff9b::/96',
    '64:ff9b:1::/48',
    '100::/64',
    '2001::/23',
    '2001:db8::/32',
    '2002::/16',
  ],
  ...['3fff::/20', '5f00::/16', 'fc00::/7', 'fe80::/9', 'ff00::/8'],
];
const NAME = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*(:\d{1,5})?$/;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

export class MediaAddresses {
  readonly #hosts = new Set<string>();
  readonly #suffixes: string[] = [];
  readonly #special = toBlockList(SPECIAL_RANGES);
  readonly #named = new BlockList();

  /**
   * `entries`: `example.com`, `*.example.com` (any name below it), either with `:PORT` where it is not the scheme's
   * own; `10.1.2.3` or `10.1.0.0/16`: such addresses too, though they are not public. Throws INVALID_REQUEST.
   */
  constructor(entries: readonly string[]) {
    for (const entry of entries) this.#add(entry.toLowerCase());
  }

  /** By its name and port; what its name resolves to is asked apart. */
  allowsHost(url: URL): boolean {
    const port = url.port === '' ? DEFAULT_PORTS[url.protocol]! : url.port;
    const isDefault = port === DEFAULT_PORTS[url.protocol];
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const names = isDefault ? [host, `${host}:${port}`] : [`${host}:${port}`];
    if (isDefault && isIP(host) !== 0 && this.#named.check(host, familyOf(host))) return true;
    if (names.some((name) => this.#hosts.has(name))) return true;
    return names.some((name) => this.#suffixes.some((suffix) => name.endsWith(suffix)));
  }

  allowsAddress(address: string): boolean {
    const family = familyOf(address);
    return this.#named.check(address, family) || !this.#special.check(address, family);
  }

  #add(entry: string): void {
    if (addRange(this.#named, entry)) return;
    if (!NAME.test(entry)) {
      throw new AppError(
        'INVALID_REQUEST',
        `--allowed-media-hosts "${entry.slice(0, 200)}": expected a host, *.host, an address or a range of addresses`,
        { details: { param: '--allowed-media-hosts' } },
      );
    }
    if (entry.startsWith('*.')) this.#suffixes.push(entry.slice(1));
    else this.#hosts.add(entry);
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

function toBlockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) addRange(list, range);
  return list;
}

/** False: it is neither an address nor a range of them. */
function addRange(list: BlockList, range: string): boolean {
  const [address = '', bits] = range.split('/');
  const family = familyOf(address);
  const most = family === 'ipv4' ? 32 : 128;
  if (isIP(address) === 0 || (bits !== undefined && !/^\d{1,3}$/.test(bits)) || Number(bits ?? most) > most)
    return false;
  list.addSubnet(address, Number(bits ?? most), family);
  return true;
}
