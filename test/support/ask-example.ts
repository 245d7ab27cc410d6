// A client of its own process, so that it can run in another network namespace: asks the server at argv[2] the first
// bundled question and prints one JSON object.
import { readFileSync } from 'node:fs';
import type { GenerateOnceResponse__Output } from '../../proto/ts/skein/inference/v1/GenerateOnceResponse.js';
import { connect, getCluster } from '../../bench/gpu/serving-client.js';
import { repoPath } from './paths.js';

interface Example {
  readonly picture: string;
  readonly question: string;
  readonly answer: string;
}

const folder = repoPath('models', 'r1v-nano', 'examples');
const [example] = JSON.parse(readFileSync(`${folder}/examples.json`, 'utf8')) as [Example];
const client = connect(process.argv[2] ?? '127.0.0.1:50051');
const request = {
  text: example.question,
  pictures: [{ data: readFileSync(`${folder}/${example.picture}`) }],
};
const response = await new Promise<GenerateOnceResponse__Output>((resolve, reject) => {
  client.generateOnce({ request }, (error, value) => (error === null ? resolve(value!) : reject(error)));
});
const { collective, ranks } = await getCluster(client);
client.close();
const said = {
  question: example.question,
  reasoning: response.reasoning,
  answer: response.answer,
  expected: example.answer,
  collective,
  ranks: ranks.map(({ workerId, address }) => ({ workerId, address })),
};
process.stdout.write(`${JSON.stringify(said)}\n`);
