// The pictures of one call as OpenAI's API has them, by URLs. Data URLs hold them themselves; http(s) URLs are fetched
// once all else of the request has been checked, where the server fetches at all. The type that a URL names is not
// looked at, for the decoder tells pictures by their bytes.
import { AppError } from '../../../common/errors.js';
import { MAX_DATA_URL_HEADER_CHARS, MAX_PICTURE_BYTES } from '../../../common/limits.js';
import type { PictureInput } from '../../requests/request-spec.js';
import { checkPicture, invalid, invalidPicture } from '../request-checks.js';
import type { FetchOwner, MediaFetcher } from './media-fetcher.js';

const SCHEME = 'data:';
const BASE64 = ';base64';

export class CallPictures {
  readonly #fetcher: MediaFetcher | null;
  readonly #remote: {
    readonly url: string;
    readonly picture: { data: Uint8Array; readonly label: string };
  }[] = [];

  /** `fetcher`: null where no http(s) URLs are taken. */
  constructor(fetcher: MediaFetcher | null) {
    this.#fetcher = fetcher;
  }

  /** `label`: where it stands in the request, for messages. What is to be fetched has no bytes before `fetchAll`. */
  add(url: string, label: string): PictureInput {
    if (!/^https?:/i.test(url)) return pictureOfDataUrl(url, label);
    if (this.#fetcher === null) {
      const reason =
        'is an http(s) URL, which this server does not fetch (--allowed-media-hosts): send a data URL';
      throw invalid(label, reason);
    }
    this.#fetcher.check(url, label);
    const picture = { data: new Uint8Array(), label };
    this.#remote.push({ url, picture });
    return picture;
  }

  /** Rejects with why the first of them cannot be had; the others are given up then. */
  async fetchAll(owner: FetchOwner): Promise<void> {
    const failed = new AbortController();
    const signal = AbortSignal.any([owner.signal, failed.signal]);
    try {
      await Promise.all(
        this.#remote.map(async ({ url, picture }) => {
          picture.data = await this.#fetcher!.fetch(url, picture.label, { ...owner, signal });
        }),
      );
    } finally {
      failed.abort(new AppError('CANCELLED', 'another picture of the request cannot be fetched'));
    }
  }
}

function pictureOfDataUrl(url: string, label: string): PictureInput {
  if (!url.startsWith(SCHEME))
    throw invalid(label, 'is neither a data URL (data:image/png;base64,...) nor http(s)');
  const comma = url.slice(0, MAX_DATA_URL_HEADER_CHARS).indexOf(',');
  if (comma < 0 || !url.slice(0, comma).endsWith(BASE64))
    throw invalid(label, 'is a data URL that does not say ";base64,"');
  return checkPicture(decodeBase64(url.slice(comma + 1), label), label);
}

/** Strict: a character that does not belong there is an error, and not skipped. */
function decodeBase64(text: string, label: string): Uint8Array {
  const numChars = text.endsWith('==') ? text.length - 2 : text.endsWith('=') ? text.length - 1 : text.length;
  const numBytes = Math.floor((numChars * 3) / 4);
  if (numBytes > MAX_PICTURE_BYTES)
    throw invalidPicture(label, `has ${numBytes} bytes; the limit is ${MAX_PICTURE_BYTES}`);
  const data = Buffer.from(text, 'base64');
  if (numChars % 4 === 1 || data.byteLength !== numBytes) throw invalidPicture(label, 'is not base64');
  return data;
}
