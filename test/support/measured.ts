// Numbers that a test measured on its way, for whoever watches and, where SKEIN_MEASURED names a file, for a result
// file: one JSON object a line.
import { appendFileSync } from 'node:fs';

export function recordMeasured(what: string, values: Readonly<Record<string, number | string>>): void {
  const text = Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === 'string' ? value : Number(value.toPrecision(3))}`)
    .join(', ');
  process.stderr.write(`      ${text}\n`);
  const file = process.env['SKEIN_MEASURED'];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what, ...values })}\n`);
}
