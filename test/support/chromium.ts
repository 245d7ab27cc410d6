// A page in headless Chromium, watched: what its console says, what its policy refuses, whom it talks to. Where there
// is no Chromium, the tests that need it are skipped and say so.
import assert from 'node:assert/strict';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { launch, type Browser, type Page } from 'puppeteer-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const ARGUMENTS = [
  // As root there is no sandbox; the pages are ours.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

function findChromium(searchPath = process.env['PATH'] ?? ''): string | null {
  const folders = searchPath.split(path.delimiter).filter((folder) => folder !== '');
  for (const name of NAMES) {
    for (const folder of folders) {
      const file = path.join(folder, name);
      try {
        accessSync(file, constants.X_OK);
        return file;
      } catch {
        // The next one.
      }
    }
  }
  return null;
}

export interface ViewOptions {
  readonly width?: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
  readonly reducesMotion?: boolean;
}

export class Chromium {
  readonly #browser: Browser;
  readonly #folder: string;

  private constructor(browser: Browser, folder: string) {
    this.#browser = browser;
    this.#folder = folder;
  }

  /** Skips the test that calls where there is no Chromium. */
  static async start(context: Mocha.Context): Promise<Chromium> {
    const executablePath = findChromium();
    if (executablePath === null) {
      process.stdout.write(`      skipped: none of ${NAMES.join(', ')} is on PATH\n`);
      context.skip();
    }
    const folder = mkdtempSync(path.join(tmpdir(), 'skein-chromium-'));
    const browser = await launch({
      executablePath,
      headless: true,
      userDataDir: folder,
      args: ARGUMENTS,
      timeout: 60_000,
    });
    return new Chromium(browser, folder);
  }

  async open(url: string, view: ViewOptions = {}): Promise<WatchedPage> {
    const page = await this.#browser.newPage();
    const { width = 1200, height = 800, scheme = 'light', reducesMotion = false } = view;
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([
      { name: 'prefers-color-scheme', value: scheme },
      { name: 'prefers-reduced-motion', value: reducesMotion ? 'reduce' : 'no-preference' },
    ]);
    const watched = new WatchedPage(page, new URL(url).origin);
    await watched.watch();
    await page.goto(url, { waitUntil: 'load' });
    return watched;
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class WatchedPage {
  readonly page: Page;
  readonly #origin: string;
  readonly #problems: string[] = [];

  constructor(page: Page, origin: string) {
    this.page = page;
    this.#origin = origin;
  }

  async watch(): Promise<void> {
    const { page } = this;
    page.on('console', (message) => {
      if (['error', 'warn', 'assert'].includes(message.type())) this.#problems.push(message.text());
    });
    page.on('pageerror', (error) => this.#problems.push(String(error)));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.origin !== this.#origin && url.protocol !== 'data:')
        this.#problems.push(`asked another host: ${url.href}`);
    });
    await page.exposeFunction('tellViolation', (text: string) => this.#problems.push(text));
    await page.evaluateOnNewDocument(`
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
        tellViolation(['policy', violatedDirective, blockedURI, sample].join(' ')));
    `);
  }

  /** Runs a script in the page, whose types this program does not know; its value comes back as JSON. */
  run<Value>(script: string): Promise<Value> {
    return this.page.evaluate(script) as Promise<Value>;
  }

  /** Of the first element that a selector finds; `expression` knows it as `element`. */
  of<Value>(selector: string, expression: string): Promise<Value> {
    return this.run(`{
      const element = document.querySelector(${JSON.stringify(selector)});
      ${expression};
    }`);
  }

  async upload(selector: string, file: string): Promise<void> {
    const input = (await this.page.waitForSelector(selector)) as {
      uploadFile(file: string): Promise<void>;
    } | null;
    await input!.uploadFile(file);
  }

  /** Nothing went wrong in the page but what matches `expected`. */
  assertClean(expected = /^$/): void {
    assert.deepEqual(
      this.#problems.filter((problem) => !expected.test(problem)),
      [],
    );
  }

  /** The text of the first element that a selector finds, as it is shown. */
  text(selector: string): Promise<string> {
    return this.of(selector, 'element.innerText.trim()');
  }

  /** Resolves when the text that a selector finds matches. */
  async until(selector: string, pattern: RegExp, timeoutMs = 30_000): Promise<string> {
    const deadline = Date.now() + timeoutMs;
    let last = 'no such element';
    for (;;) {
      try {
        last = await this.text(selector);
        if (pattern.test(last)) return last;
      } catch {
        // It is not there yet, or no longer.
      }
      assert.ok(Date.now() < deadline, `${selector} has ${String(pattern)}; it had: ${last}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  close(): Promise<void> {
    return this.page.isClosed() ? Promise.resolve() : this.page.close();
  }
}
