// The page over the bundled model on two ranks, as `skein serve` gives it: a picture, reasoning and an answer; and a
// worker that is lost while somebody looks.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { post } from '../http/http-service.js';
import { Chromium } from '../support/chromium.js';
import { goldenPath, repoPath } from '../support/paths.js';
import { ServedApis } from '../support/served-apis.js';
import { SkeinProcess } from '../support/skein-process.js';

const NANO = repoPath('models', 'r1v-nano');
const PICTURE = path.join(NANO, 'evaluation', '000.png');
const QUESTION = 'How many purple shapes do you see?';

describe('the page over r1v-nano in Chromium', function () {
  this.timeout(120_000);
  let chromium: Chromium;
  let served: ServedApis;
  let address: string;
  before(async function () {
    chromium = await Chromium.start(this);
    served = await ServedApis.start(['--model', NANO, '--tensor-parallel-size', '2']);
    address = served.url;
  });
  after(async () => {
    await chromium?.stop();
    await served?.stop();
  });

  it('shows the reasoning and the answer that the API gives, and folds the reasoning', async () => {
    const url = `data:image/png;base64,${readFileSync(PICTURE).toString('base64')}`;
    const parts = [
      { type: 'image_url', image_url: { url } },
      { type: 'text', text: QUESTION },
    ];
    const body = { messages: [{ role: 'user', content: parts }] };
    const { json } = await post({ address }, '/v1/chat/completions', body);
    const [{ message }] = json['choices'] as [{ message: { content: string; reasoning_content: string } }];

    const watched = await chromium.open(`${address}/`);
    await watched.upload('.asking input[type=file]', PICTURE);
    await watched.page.waitForSelector('.asking .thumbnails img');
    await watched.page.type('.asking textarea', QUESTION);
    await watched.page.keyboard.press('Enter');
    await watched.page.waitForSelector('.answer-foot');
    assert.equal(await watched.text('.answer > .prose'), message.content);
    assert.match(await watched.text('.reasoning'), /^Reasoned( for [\d.]+\s?s)?$/);
    assert.equal(await watched.page.$('.reasoning-text'), null);
    await watched.page.click('.reasoning button');
    const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');
    assert.deepEqual(words(await watched.text('.reasoning-text')), words(message.reasoning_content));
    watched.assertClean();
    await watched.close();
  });

  it('shows how the cluster recovers from a lost worker', async () => {
    const watched = await chromium.open(`${address}/#cluster`);
    await watched.until('.events', /Epoch 1 began with 2 ranks/);
    process.kill(served.skein.childPids().at(-1)!, 'SIGKILL');
    await watched.until('.events', /Epoch 1 was lost[^]*worker_lost|worker_lost[^]*Epoch 1 was lost/);
    const events = await watched.until('.events', /Epoch 2 began with 2 ranks/);
    assert.match(events, /The model is served/);
    await watched.until('.summary', /epoch 2/);
    await watched.until('.pill', /Serving/);
    watched.assertClean();
    await watched.close();
  });
});

describe('skein serve --no-page', () => {
  it('has the API alone', async function () {
    this.timeout(60_000);
    const model = goldenPath('tiny-6b-vit');
    const addresses = ['--grpc-address', '127.0.0.1:0', '--http-address', '127.0.0.1:0'];
    const skein = new SkeinProcess(['serve', '--model', model, '--no-page', ...addresses]);
    const [, address] = await skein.outputMatches(/and (http:\S+)/);
    const statusOf = async (url: string): Promise<number> => (await fetch(`${address}${url}`)).status;
    assert.deepEqual(
      [await statusOf('/'), await statusOf('/cluster'), await statusOf('/v1/models')],
      [404, 404, 200],
    );
    skein.child.kill('SIGTERM');
    await skein.exited;
  });
});
