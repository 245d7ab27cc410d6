// Both views of the page for everybody: readable in light and dark, on a small screen, by a screen reader, with little
// motion; and what they show before there is a group, and when the server is gone.
import assert from 'node:assert/strict';
import { createServer, request as askHttp } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { readFileSync } from 'node:fs';
import type { AxeResults } from 'axe-core';
import { startHttpService } from '../http/http-service.js';
import type { ViewOptions, WatchedPage } from '../support/chromium.js';
import { servePage } from './served-page.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const VIEWS = ['playground', 'cluster'] as const;
const SCHEMES = ['light', 'dark'] as const;

describe('the views of the page in Chromium', function () {
  this.timeout(90_000);
  const served = servePage({ worldSize: 2, engine: { stepMs: 5 } });

  function openPage(view: string, options: ViewOptions = {}): Promise<WatchedPage> {
    return served.open(`#${view}`, options);
  }

  /** A conversation with reasoning, code, maths, a table and an error in it. */
  async function fill(watched: WatchedPage): Promise<void> {
    const { page } = watched;
    const content =
      '# A\n\n`b` [c](https://d.e) $f^2$\n\n```ts\ng();\n```\n\n| h | i |\n|---|---|\n| 1 | 2 |\n\n> j';
    const chunks = [
      { choices: [{ delta: { reasoning_content: 'Hm.' } }] },
      { choices: [{ delta: { content } }] },
    ];
    const body = `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`;
    let numCalls = 0;
    await page.setRequestInterception(true);
    page.on('request', (request) => {
      if (!request.url().endsWith('/v1/chat/completions')) {
        void request.continue();
        return;
      }
      numCalls += 1;
      if (numCalls === 1) void request.respond({ status: 200, contentType: 'text/event-stream', body });
      else void request.respond({ status: 503, headers: { 'retry-after-ms': '2000' }, body: 'a proxy' });
    });
    for (const selector of ['.answer-foot', '.error']) {
      await page.type('.asking textarea', 'why?');
      await page.keyboard.press('Enter');
      await page.waitForSelector(`li:last-child ${selector}`);
    }
    await page.click('.reasoning button');
    await page.hover('h1');
  }

  for (const view of VIEWS) {
    for (const scheme of SCHEMES) {
      it(`the ${view} passes axe, contrast included, in ${scheme}`, async () => {
        const watched = await openPage(view, { scheme });
        if (view === 'playground') await fill(watched);
        else await watched.until('.ranks', /Rank 1/);
        await watched.run(`${AXE}; null`);
        const { violations, passes } = await watched.run<AxeResults>('axe.run()');
        const problems = violations.flatMap(({ id, nodes }) =>
          nodes.map(({ target, failureSummary }) => `${id} ${target.join(' ')}: ${failureSummary}`),
        );
        assert.deepEqual(problems, []);
        assert.ok(passes.some(({ id }) => id === 'color-contrast'));
        watched.assertClean(/status of 503/);
      });
    }

    it(`the ${view} fits a screen of 320 pixels`, async () => {
      const watched = await openPage(view, { width: 320, height: 640 });
      if (view === 'playground') await fill(watched);
      else await watched.until('.ranks', /Rank 1/);
      const [needed, has] = await watched.of<[number, number]>(
        'html',
        '[element.scrollWidth, element.clientWidth]',
      );
      assert.ok(needed <= has, `it needs ${needed} of ${has} pixels`);
    });
  }

  it('draws every line with 3:1 to its ground, in light and dark', async () => {
    for (const scheme of SCHEMES) {
      const watched = await openPage('cluster', { scheme });
      const colours = await watched.run<{ paper: number[]; lines: number[][] }>(`{
        const canvas = document.createElement('canvas').getContext('2d');
        const probe = document.body.appendChild(document.createElement('i'));
        const rgbOf = (name) => {
          probe.style.color = 'var(' + name + ')';
          canvas.fillStyle = getComputedStyle(probe).color;
          canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
        };
        const lines = Array.from({ length: 8 }, (_, index) => rgbOf('--line-' + index));
        ({ paper: rgbOf('--paper'), lines });
      }`);
      for (const line of colours.lines) {
        const ratio = contrast(line, colours.paper);
        assert.ok(ratio >= 3, `${line.join(' ')} on ${colours.paper.join(' ')}: ${ratio.toFixed(2)}`);
      }
      await watched.close();
    }
  });

  it('keeps the colours that were chosen', async () => {
    const watched = await openPage('cluster', { scheme: 'light' });
    const { page } = watched;
    const ground = (): Promise<string> => watched.of('html', 'getComputedStyle(element).backgroundColor');
    const light = await ground();
    await (await page.$('aria/Dark'))!.click();
    const dark = await ground();
    assert.notEqual(dark, light);
    await page.reload({ waitUntil: 'load' });
    assert.equal(await ground(), dark);
    await (await page.$('aria/As the system'))!.click();
    assert.equal(await ground(), light);
  });

  it('moves nothing for who wants no motion', async () => {
    const watched = await openPage('playground', { reducesMotion: true });
    await watched.page.type('.asking textarea', 'hello');
    await watched.page.keyboard.press('Enter');
    await watched.page.waitForSelector('.answer');
    const moving = await watched.run<number>('document.getAnimations().length');
    assert.equal(moving, 0);
  });

  it('shows ranks, cache and steps of the cluster as the report has them', async () => {
    const body = { messages: [{ role: 'user', content: 'hello' }], max_tokens: 40, ignore_eos: true };
    const response = await fetch(`${served.service.gateway.address}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.equal(response.status, 200);
    const watched = await openPage('cluster');
    assert.match(await watched.until('.summary', /epoch/), /tiny-6b-vit[^]*2 ranks[^]*epoch 1/);
    assert.match(await watched.text('.ranks'), /Rank 0[^]*weights 1000\sB[^]*Rank 1/);
    assert.match(await watched.text('.events'), /Epoch 1 began with 2 ranks/);
    const { completed_steps: steps } = served.service.cluster.serving.clusterReport(0);
    assert.match(await watched.text('.tiles'), new RegExp(`Steps\\s+${steps}\\s`));
    await watched.page.waitForSelector('.charts path.line-1[d*=" "]');
    assert.match(await watched.text('.charts'), /rank 0 [\d.–]+\s+rank 1 [\d.–]+/);
    watched.assertClean();
  });

  it('lays the settings over a narrow page, and Escape gives it back', async () => {
    const watched = await openPage('playground', { width: 390, height: 700 });
    const { page } = watched;
    assert.equal(await watched.of<string>('#settings', 'getComputedStyle(element).display'), 'none');
    await page.focus('[aria-controls=settings]');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    const isSeen = `{
      const { top, bottom } = document.activeElement.getBoundingClientRect();
      top >= 0 && bottom <= innerHeight && document.activeElement.closest('#settings') !== null;
    }`;
    assert.ok(await watched.run<boolean>(isSeen));
    await page.keyboard.press('Escape');
    await page.waitForSelector('#settings[hidden]');
    const label = await watched.run<string>('document.activeElement.textContent.trim()');
    assert.equal(label, 'Settings');
    watched.assertClean();
  });

  it('works below a path of a proxy', async () => {
    const { port } = new URL(served.service.gateway.address);
    const proxy = createServer((request, response) => {
      const path = request.url!.replace(/^\/models\/tiny/, '');
      if (path === request.url) {
        response.writeHead(404).end();
        return;
      }
      const { method, headers } = request;
      const asked = askHttp({ port, path, method, headers }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      request.pipe(asked);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    try {
      const proxyPort = (proxy.address() as AddressInfo).port;
      const watched = await served.visit(`http://127.0.0.1:${proxyPort}/models/tiny/`);
      await watched.until('.pill', /Serving/);
      await watched.page.type('.asking textarea', 'hello');
      await watched.page.keyboard.press('Enter');
      await watched.until('.answer .prose', /./);
      watched.assertClean();
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it('says that the model is not ready, and when to try again', async () => {
    const forming = await startHttpService({ until: 'open', engine: { loadMs: 20_000 } });
    try {
      const watched = await served.visit(`${forming.gateway.address}/`);
      await watched.until('.pill', /Forming/);
      assert.match(await watched.text('.welcome'), /takes no questions at the moment/);
      await watched.page.type('.asking textarea', 'hello');
      await watched.page.keyboard.press('Enter');
      const error = await watched.until('.error', /not_ready/);
      assert.match(error, /The model is not ready yet/);
      assert.match(error, /Try again \(better in [12] s\)/);
      await watched.until('.error button', /^Try again$/);
      watched.assertClean(/status of 503/);
    } finally {
      await forming.stop();
    }
  });

  it('says that the server is gone', async () => {
    const ending = await startHttpService();
    let isStopped = false;
    try {
      const watched = await served.visit(`${ending.gateway.address}/#cluster`);
      await watched.until('.pill', /Serving/);
      await ending.stop();
      isStopped = true;
      await watched.until('.pill', /Unreachable/);
      assert.match(await watched.text('.notice'), /does not answer/);
      await watched.page.click('nav a');
      await watched.page.type('.asking textarea', 'hello');
      await watched.page.keyboard.press('Enter');
      assert.match(await watched.until('.error', /./), /The server cannot be reached/);
    } finally {
      if (!isStopped) await ending.stop();
    }
  });
});

/** Of two colours, as WCAG has it. */
function contrast(one: readonly number[], other: readonly number[]): number {
  const luminance = (colour: readonly number[]): number => {
    const [red, green, blue] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
  };
  const [lighter, darker] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (lighter! + 0.05) / (darker! + 0.05);
}
