// A picture as OpenAI's API has it, by a URL: data URLs hold it themselves. The type that they name is not looked at,
// for the decoder tells pictures by their bytes.
import { MAX_PICTURE_BYTES } from '../../../common/limits.js';
import type { PictureInput } from '../../requests/request-spec.js';
import { checkPicture, invalid, invalidPicture } from '../request-checks.js';

const SCHEME = 'data:';
/** Of a data URL, before its comma: the type and its parameters. */
const MAX_HEADER_CHARS = 256;
const BASE64 = ';base64';

/** `label`: where it stands in the request, for messages. */
export function pictureOfUrl(url: string, label: string): PictureInput {
  if (/^https?:/i.test(url))
    throw invalid(label, 'is an http(s) URL, which this server does not fetch: send a data URL');
  if (!url.startsWith(SCHEME)) throw invalid(label, 'is no data URL: data:image/png;base64,...');
  const comma = url.slice(0, MAX_HEADER_CHARS).indexOf(',');
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
