// What stands in a schema: pointers, values and bounds.
import type { Bound } from './number-range.js';

export function decodePointer(part: string): string {
  let text = part;
  try {
    text = decodeURIComponent(part);
  } catch {
    // It is no URI: as it stands.
  }
  return text.replaceAll('~1', '/').replaceAll('~0', '~');
}

export function isOfType(value: unknown, type: string): boolean {
  if (value === null) return type === 'null';
  if (Array.isArray(value)) return type === 'array';
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}

export function wholeFrom({ value, isExclusive }: Bound): bigint {
  return BigInt(isExclusive ? Math.floor(value) + 1 : Math.ceil(value));
}

export function wholeTo({ value, isExclusive }: Bound): bigint {
  return BigInt(isExclusive ? Math.ceil(value) - 1 : Math.floor(value));
}
