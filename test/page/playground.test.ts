// The playground in a real browser over a cluster with the fake engine: what it shows is what the API says, and the
// page breaks none of its own rules.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dataUrl, MODEL, post } from '../http/http-service.js';
import type { WatchedPage } from '../support/chromium.js';
import { goldenPath } from '../support/paths.js';
import { servePage } from './served-page.js';

const QUESTION = '.asking textarea';
const ANSWER = 'li:last-child .answer';
const PICTURE = 'img0.png';

describe('the playground in Chromium', function () {
  this.timeout(90_000);
  const served = servePage({ engine: { stepMs: 15 }, config: { maxNumSequences: 2 } });

  /** In the panel of settings. */
  async function set({ page }: WatchedPage, label: string, value: string): Promise<void> {
    const input = await page.$(`aria/${label}`);
    await input!.type(value);
  }

  async function ask(watched: WatchedPage, text: string): Promise<void> {
    await watched.page.type(QUESTION, text);
    await watched.page.keyboard.press('Enter');
  }

  const answerOfApi = async (content: unknown, more: object = {}): Promise<string> => {
    const body = { messages: [{ role: 'user', content }], max_completion_tokens: 30, ...more };
    const { json } = await post(served.service.gateway, '/v1/chat/completions', body);
    const [choice] = json['choices'] as { message: { content: string } }[];
    return choice!.message.content;
  };

  it('streams the answer that the API gives, with what it took, and asks again', async () => {
    const watched = await served.open();
    await set(watched, 'Most tokens', '30');
    await ask(watched, 'hello there');
    const lengths = new Set<number>();
    const deadline = Date.now() + 30_000;
    while ((await watched.page.$(`${ANSWER} .answer-foot`)) === null) {
      assert.ok(Date.now() < deadline);
      const length = await watched.of<number | null>(
        `${ANSWER} .prose`,
        'element?.textContent.length ?? null',
      );
      if (length !== null) lengths.add(length);
    }
    assert.ok(lengths.size >= 2, `the answer is seen to grow: ${[...lengths].join(', ')}`);
    const expected = await answerOfApi('hello there');
    assert.ok(expected.length >= 20);
    assert.equal(await watched.text(`${ANSWER} .prose`), expected);
    assert.match(await watched.text(`${ANSWER} .figures`), /30 tokens.*tokens\/s.*to first token/s);
    assert.match(await watched.text(`${ANSWER} .ended`), /limit of tokens/);
    assert.equal(await watched.of<string>(ANSWER, 'element.ariaBusy'), 'false');

    await (await watched.page.$('aria/Ask again[role="button"]'))!.click();
    await watched.page.waitForSelector(`${ANSWER} .waiting, ${ANSWER} .arriving`);
    await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
    assert.equal(await watched.text(`${ANSWER} .prose`), expected);
    watched.assertClean();
  });

  it('goes on with the conversation, and changes a question', async () => {
    const watched = await served.open();
    await set(watched, 'Most tokens', '30');
    await ask(watched, 'one');
    await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
    const first = await watched.text(`${ANSWER} .prose`);
    await ask(watched, 'two');
    await watched.page.waitForSelector('.conversation > li:nth-child(2) .answer-foot');
    const body = {
      max_completion_tokens: 30,
      messages: [
        { role: 'user', content: 'one' },
        { role: 'assistant', content: first },
        { role: 'user', content: 'two' },
      ],
    };
    const { json } = await post(served.service.gateway, '/v1/chat/completions', body);
    const [choice] = json['choices'] as { message: { content: string } }[];
    assert.equal(await watched.text(`${ANSWER} .prose`), choice!.message.content);

    const hasFocus = (selector: string): Promise<boolean> =>
      watched.of(selector, 'element === document.activeElement');
    const editHasFocus = (): Promise<unknown> =>
      watched.page.waitForFunction(`document.activeElement.matches('.conversation textarea')`);
    const change = '.question-foot button';
    await watched.page.click(change);
    await editHasFocus();
    await watched.page.keyboard.type(' or not');
    await watched.page.keyboard.press('Escape');
    await watched.page.waitForSelector('.conversation textarea', { hidden: true });
    assert.equal(await watched.text('.question'), 'one');
    await watched.page.waitForFunction(`document.activeElement.textContent.trim() === 'Change'`);
    await watched.page.keyboard.press('Enter');
    await editHasFocus();
    await watched.page.keyboard.type(' more');
    await watched.page.keyboard.press('Enter');
    await watched.until('.conversation .question', /^one more$/);
    await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
    assert.equal((await watched.page.$$('.conversation > li')).length, 1);
    assert.ok(await hasFocus(QUESTION));
    assert.equal(await watched.text(`${ANSWER} .prose`), await answerOfApi('one more'));
    watched.assertClean();
  });

  it('stops with Escape, keeps what came, and the server computes no more', async () => {
    const watched = await served.open();
    await ask(watched, 'tell me everything');
    await watched.until(`${ANSWER} .prose`, /../);
    await watched.page.keyboard.press('Escape');
    assert.equal(await watched.until(`${ANSWER} .ended`, /./), 'Stopped.');
    assert.ok((await watched.text(`${ANSWER} .prose`)).length >= 2);
    await served.service.idle();
    watched.assertClean();
  });

  for (const way of ['dropped', 'pasted', 'chosen'] as const) {
    it(`takes a picture that is ${way}, and sends it as it is`, async () => {
      const watched = await served.open();
      await set(watched, 'Most tokens', '30');
      const file = goldenPath(MODEL, PICTURE);
      if (way === 'chosen') {
        await watched.upload('.asking input[type=file]', file);
      } else {
        await give(watched, way, readFileSync(file), 'image/png');
      }
      await watched.page.waitForSelector('.asking .thumbnails img');
      await ask(watched, 'what is this?');
      await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
      const picture = { type: 'image_url', image_url: { url: dataUrl(PICTURE) } };
      const expected = await answerOfApi([picture, { type: 'text', text: 'what is this?' }]);
      assert.equal(await watched.text(`${ANSWER} .prose`), expected);
      assert.equal(await watched.page.$('.asking .thumbnails'), null);
      watched.assertClean();
    });
  }

  it('takes no file that is no picture, and shows why the server does not take a broken one', async () => {
    const watched = await served.open();
    await give(watched, 'dropped', Buffer.from('%PDF-1.7'), 'application/pdf');
    assert.match(await watched.until('.problems', /./), /is no PNG, JPEG, WebP or GIF/);
    await give(watched, 'dropped', Buffer.from('no picture at all'), 'image/png');
    await watched.page.waitForSelector('.asking .thumbnails img');
    await ask(watched, 'what is this?');
    const error = await watched.until('.error', /invalid_picture/);
    assert.match(error, /A picture could not be used/);
    assert.match(error, /request [0-9a-f-]{36}/);
    watched.assertClean(/status of 400/);
  });

  it('says of a file that it cannot be read any more', async () => {
    const watched = await served.open();
    await watched.page.evaluate(`FileReader.prototype.readAsDataURL = function () {
      queueMicrotask(() => this.onerror(new ProgressEvent('error')));
    }`);
    await give(watched, 'dropped', Buffer.from('no picture at all'), 'image/png');
    assert.match(await watched.until('.problems', /./), /cannot be read any more/);
    watched.assertClean();
  });

  it('does not ask with a setting that is not valid, and says which', async () => {
    const watched = await served.open();
    await set(watched, 'Temperature', 'hot');
    await watched.page.type(QUESTION, 'hello');
    await watched.page.keyboard.press('Enter');
    assert.match(await watched.text('.asking .composer-hint'), /setting is not valid/);
    assert.match(await watched.text('#temperature-hint'), /is not a number/);
    assert.equal(await watched.page.$('.conversation'), null);
    watched.assertClean();
  });

  it('can be used with the keyboard alone', async () => {
    const watched = await served.open();
    const { page } = watched;
    await page.keyboard.press('Tab');
    const focused = (): Promise<string> =>
      watched.run(`{
        const element = document.activeElement;
        const frame = element.closest('form.composer, .themes label');
        const isSeen =
          getComputedStyle(element).outlineStyle !== 'none' || frame?.matches(':focus-within') === true;
        (element.ariaLabel ?? element.innerText.trim()) + (isSeen ? '' : ' (unseen)');
      }`);
    assert.equal(await focused(), 'Skip to the content');
    await page.keyboard.press('Enter');
    const order: string[] = [];
    for (let index = 0; index < 4; index += 1) {
      await page.keyboard.press('Tab');
      order.push(await focused());
    }
    assert.deepEqual(order, ['Your question', 'Add a picture', 'Ask', 'Settings']);
    await page.keyboard.press('Enter');
    await page.waitForSelector('#settings[hidden]');
    for (let index = 0; index < 3; index += 1) {
      await page.keyboard.down('Shift');
      await page.keyboard.press('Tab');
      await page.keyboard.up('Shift');
    }
    assert.equal(await focused(), 'Your question');
    await page.keyboard.type('line one');
    await page.keyboard.down('Shift');
    await page.keyboard.press('Enter');
    await page.keyboard.up('Shift');
    await page.keyboard.type('line two');
    await page.keyboard.press('Enter');
    assert.equal(await watched.until('.question', /./), 'line one\nline two');
    await watched.until(`${ANSWER} .prose`, /./);
    await page.keyboard.press('Escape');
    await page.waitForSelector(`${ANSWER} .answer-foot`);
    assert.equal(await focused(), 'Your question');
    watched.assertClean();
  });

  it('tells a screen reader of the answer in whole paragraphs, and how it ended', async () => {
    const watched = await served.open();
    await set(watched, 'Most tokens', '30');
    await ask(watched, 'hello there');
    await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
    const said = await watched.run<string[]>(
      `Array.from(document.querySelectorAll('[role=log] p'), ({ textContent }) => textContent)`,
    );
    assert.deepEqual(said, [await answerOfApi('hello there'), 'The answer ends at its limit of tokens.']);
  });

  it('makes no HTML of what a model writes, and MathML of its TeX', async () => {
    const watched = await served.open();
    const hostile = [
      '<img src=x onerror="alert(1)"> <script>alert(2)</script> <style>body{display:none}</style>',
      '[click](javascript:alert(3)) ![p](https://example.org/p.png) [fine](https://example.org/)',
      '$\\frac{a}{b}$ and $\\href{javascript:alert(4)}{x}$ and $\\unknown{$',
      '```html\n<iframe srcdoc="<script>alert(5)</script>"></iframe>\n```',
    ].join('\n\n');
    const chunks = [
      { choices: [{ delta: { content: hostile } }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
    ];
    const body = `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`;
    await watched.page.setRequestInterception(true);
    watched.page.on('request', (request) => {
      if (!request.url().endsWith('/v1/chat/completions')) void request.continue();
      else void request.respond({ status: 200, contentType: 'text/event-stream', body });
    });
    await ask(watched, 'attack');
    await watched.page.waitForSelector(`${ANSWER} .answer-foot`);
    await watched.page.waitForSelector(`${ANSWER} math mfrac`);
    const found = await watched.of<{ elements: number; links: string[]; mathLinks: number; text: string }>(
      ANSWER,
      `({
        elements: element.querySelectorAll('img, script, style, iframe, [onerror]').length,
        links: Array.from(element.querySelectorAll('a'), ({ href, rel }) => href + ' ' + rel),
        mathLinks: element.querySelectorAll('math [href]').length,
        text: element.textContent,
      })`,
    );
    assert.equal(found.elements, 0);
    assert.equal(found.mathLinks, 0);
    assert.deepEqual(found.links, [
      'https://example.org/p.png noopener noreferrer nofollow',
      'https://example.org/ noopener noreferrer nofollow',
    ]);
    assert.ok(found.text.includes('<script>alert(2)</script>'));
    watched.assertClean();
  });

  /** As somebody does who has a file. */
  function give(
    watched: WatchedPage,
    way: 'dropped' | 'pasted',
    bytes: Buffer,
    type: string,
  ): Promise<boolean> {
    return watched.of(
      QUESTION,
      `
      const data = Uint8Array.from(atob('${bytes.toString('base64')}'), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([data], 'a file', { type: '${type}' }));
      const init = { bubbles: true, cancelable: true, clipboardData: transfer, dataTransfer: transfer };
      const events = '${way}' === 'pasted'
        ? [new ClipboardEvent('paste', init)]
        : [new DragEvent('dragover', init), new DragEvent('drop', init)];
      events.map((event) => element.dispatchEvent(event)).every((isUnhandled) => !isUnhandled)`,
    );
  }
});
