// Checks the protocol files against their rules (scripts/lib/proto-rules.mjs) and against proto/accepted.json. With
// --accept it writes that file, unless something would break; --accept --break writes it all the same.
import './lib/require-node.mjs';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { breakingChanges, describeProtocol, formProblems } from './lib/proto-rules.mjs';

const protoFolder = fileURLToPath(new URL('../proto', import.meta.url));
const acceptedFile = path.join(protoFolder, 'accepted.json');
const files = Object.fromEntries(
  readdirSync(protoFolder, { recursive: true })
    .map((file) => file.split(path.sep).join('/'))
    .filter((file) => file.endsWith('.proto'))
    .sort()
    .map((file) => [file, readFileSync(path.join(protoFolder, file), 'utf8')]),
);

const flags = new Set(process.argv.slice(2));
const now = describeProtocol(files);
const text = `${JSON.stringify(now, null, 2)}\n`;
const acceptedText = readFileSync(acceptedFile, 'utf8');
const breaking = breakingChanges(JSON.parse(acceptedText), now);
const problems = [...formProblems(now), ...(flags.has('--break') ? [] : breaking)];
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else if (flags.has('--accept')) writeFileSync(acceptedFile, text);
else if (text !== acceptedText) {
  console.error('proto/accepted.json is stale; to accept what is new: npm run proto');
  process.exitCode = 1;
}
