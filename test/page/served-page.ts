// The page in Chromium over a cluster with the fake engine, for the tests of one suite: started before the first, ended
// after the last, and each test's page closed behind it.
import { startHttpService, type HttpService } from '../http/http-service.js';
import { Chromium, type ViewOptions, type WatchedPage } from '../support/chromium.js';

export interface ServedPage {
  readonly service: HttpService;
  /** `place`: behind the address, like `#cluster`. Waits until the page says that the model is served. */
  open(place?: string, view?: ViewOptions): Promise<WatchedPage>;
  /** The page of another service. */
  visit(url: string, view?: ViewOptions): Promise<WatchedPage>;
}

/** To be called in a `describe`. What it returns is there from the first test on. */
export function servePage(options: Parameters<typeof startHttpService>[0]): ServedPage {
  let chromium: Chromium;
  let service: HttpService;
  let watched: WatchedPage | null = null;
  before(async function () {
    chromium = await Chromium.start(this);
    service = await startHttpService(options);
  });
  afterEach(async () => {
    await watched?.close();
    watched = null;
  });
  after(async () => {
    await chromium?.stop();
    await service?.stop();
  });
  async function visit(url: string, view: ViewOptions = {}): Promise<WatchedPage> {
    watched = await chromium.open(url, view);
    return watched;
  }
  return {
    visit,
    get service() {
      return service;
    },
    async open(place = '', view = {}) {
      const page = await visit(`${service.gateway.address}/${place}`, view);
      await page.until('.pill', /Serving/);
      return page;
    },
  };
}
