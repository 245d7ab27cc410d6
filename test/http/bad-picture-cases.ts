// Pictures that are none, too large, or odd, over both APIs.
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { repeatFrame } from '../support/long-gif.js';
import { goldenPath } from '../support/paths.js';
import { chat, complete, many, type Case } from './bad-input-forms.js';
import { MODEL } from './http-service.js';

const PNG = readFileSync(goldenPath(MODEL, 'img0.png'));

const show = (...pictures: Buffer[]): Pick<Case, 'grpc' | 'http'> => ({
  grpc: { text: 'What?', pictures: pictures.map((data) => ({ data })), sampling: { maxTokens: 2 } },
  http: chat([
    ...pictures.map((data) => ({
      type: 'image_url',
      image_url: { url: `data:image/png;base64,${data.toString('base64')}` },
    })),
    { type: 'text', text: 'What?' },
  ]),
});

/** A PNG whose header says that it is as large as can be, and whose body is not there. */
function bomb(): Buffer {
  const bytes = Buffer.from(PNG);
  bytes.writeUInt32BE(65_535, 16);
  bytes.writeUInt32BE(65_535, 20);
  return bytes;
}

const noise = sharp(
  Buffer.alloc(20 * 10 * 3).map((_, index) => (index * 2654435761) >>> 24),
  { raw: { width: 20, height: 10, channels: 3 } },
);
const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: 'red' } })
    .png()
    .toBuffer();

/** Some are made when they are asked for. */
export async function pictureCases(): Promise<readonly Case[]> {
  return [
    ...CASES,
    { what: 'one pixel', expected: 'OK', ...show(await plain(1, 1)) },
    {
      what: 'a line of pixels',
      expected: 'INVALID_PICTURE',
      says: ['1 x 32769 pixels', 'at most 32768'],
      ...show(await plain(1, 32_769)),
    },
    {
      what: 'a GIF of 10,000 frames',
      expected: 'OK',
      ...show(repeatFrame(await noise.clone().gif({ colours: 8 }).toBuffer(), 10_000)),
    },
    {
      what: 'ink instead of light',
      expected: 'OK',
      ...show(await noise.clone().toColourspace('cmyk').jpeg().toBuffer()),
    },
    {
      what: '16 bits a channel',
      expected: 'OK',
      ...show(await noise.clone().toColourspace('rgb16').png().toBuffer()),
    },
    {
      what: 'a palette with alpha',
      expected: 'OK',
      ...show(await noise.clone().ensureAlpha(0.5).png({ palette: true }).toBuffer()),
    },
    {
      what: 'TIFF',
      expected: 'INVALID_PICTURE',
      says: ['TIFF', 'JPEG, PNG, WebP and GIF are accepted'],
      ...show(await noise.clone().tiff().toBuffer()),
    },
    { what: 'a JPEG that is called PNG', expected: 'OK', ...show(await noise.clone().jpeg().toBuffer()) },
    {
      what: 'a picture that is a web page, too',
      expected: 'OK',
      ...show(
        Buffer.concat([await noise.clone().png().toBuffer(), Buffer.from('<script>alert(1)</script>')]),
      ),
    },
    {
      what: 'a web page that is a picture, too',
      expected: 'INVALID_PICTURE',
      says: ['JPEG, PNG, WebP and GIF are accepted'],
      ...show(Buffer.concat([Buffer.from('<html>'), await noise.clone().png().toBuffer()])),
    },
  ];
}

const CASES: readonly Case[] = [
  {
    what: 'a picture more than its token stands for',
    expected: 'INVALID_REQUEST',
    says: ['prompt_token_ids', 'for 1 pictures'],
    grpc: { promptTokenIds: [5, 6], pictures: [{ data: PNG }], sampling: { maxTokens: 2 } },
  },
  { what: 'a picture token without a picture', expected: 'OK', http: complete('<IMG_CONTEXT>') },
  {
    what: 'only a picture',
    expected: 'OK',
    grpc: { messages: [{ role: 'user', content: [{ picture: { data: PNG } }] }], sampling: { maxTokens: 2 } },
    http: chat([
      { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG.toString('base64')}` } },
    ]),
  },
  {
    what: 'a token of a picture more than pictures',
    expected: 'INVALID_REQUEST',
    says: ['prompt_token_ids has 2 picture tokens for picture 0, which has 160'],
    grpc: { promptTokenIds: [5, 372, 372], pictures: [{ data: PNG }], sampling: { maxTokens: 2 } },
  },
  {
    what: 'a picture of 0 bytes',
    expected: 'INVALID_PICTURE',
    says: ['has no bytes'],
    ...show(Buffer.alloc(0)),
  },
  {
    what: 'half a picture',
    expected: 'INVALID_PICTURE',
    says: ['PNG', 'truncated'],
    ...show(PNG.subarray(0, PNG.byteLength >> 1)),
  },
  {
    what: 'no picture',
    expected: 'INVALID_PICTURE',
    says: ['SVG', 'JPEG, PNG, WebP and GIF are accepted'],
    ...show(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')),
  },
  {
    what: 'a picture of 4 gigapixels',
    expected: 'INVALID_PICTURE',
    says: ['65535 x 65535 pixels', 'at most 32768'],
    ...show(bomb()),
  },
  {
    what: 'a thousand pictures',
    expected: 'INVALID_PICTURE',
    says: ['1000 pictures', 'limit is 20'],
    ...show(...many(1000, PNG.subarray(0, 100))),
  },
  {
    what: 'bad base64',
    expected: 'INVALID_PICTURE',
    says: ['image_url.url is not base64'],
    http: chat([{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA*A' } }]),
  },
  {
    what: 'a path in place of a URL',
    expected: 'INVALID_REQUEST',
    says: ['image_url.url', 'data URL'],
    http: chat([{ type: 'image_url', image_url: { url: '/etc/passwd' } }]),
  },
  {
    what: 'base64 with white space',
    expected: 'INVALID_PICTURE',
    says: ['image_url.url is not base64'],
    http: chat([{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA AAAA' } }]),
  },
  {
    what: 'a data URL of 200 MB',
    expected: 'INVALID_REQUEST',
    says: ['the body has more than 67108864 bytes'],
    http: {
      ...chat([{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(2e8)}` } }]),
      status: 413,
    },
  },
];
