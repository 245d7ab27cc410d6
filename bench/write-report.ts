// Where a result goes: into a file whose folder is made where it is missing, or onto stdout.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export function writeReport(report: object, output: string | undefined): void {
  const text = `${JSON.stringify(report, null, 1)}\n`;
  if (output === undefined) {
    process.stdout.write(text);
    return;
  }
  mkdirSync(path.dirname(path.resolve(output)), { recursive: true });
  writeFileSync(output, text);
}
