// The version of Skein, from package.json: coordinator and workers of one group must have the same.
import { readFileSync } from 'node:fs';

const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

export const VERSION = packageJson.version;
