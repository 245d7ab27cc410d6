// Pictures that somebody chose, dropped or pasted -> what is sent, or why not. The server decides; what it would surely
// refuse is said at once.
import {
  MAX_CLIENT_MESSAGE_BYTES,
  MAX_PICTURE_BYTES,
  MAX_PICTURES_PER_REQUEST,
} from '../../common/limits.js';
import type { Picture } from '../logic/conversation.js';
import { formatBytes } from '../logic/format.js';

export const PICTURE_TYPES = 'image/png,image/jpeg,image/webp,image/gif';
/** As a data URL a picture is a third longer, and the rest of the request needs room too. */
const MAX_DATA_URL_CHARS = MAX_CLIENT_MESSAGE_BYTES - 1024 * 1024;

let numPictures = 0;

export interface Picked {
  readonly pictures: readonly Picture[];
  /** One for each file that was not taken. */
  readonly problems: readonly string[];
}

/** `present`: those of the question already. */
export async function readPictures(files: Iterable<File>, present: readonly Picture[]): Promise<Picked> {
  const pictures: Picture[] = [];
  const problems: string[] = [];
  for (const file of files) {
    const problem = problemOf(file, present.length + pictures.length);
    if (problem !== null) {
      problems.push(`${file.name}: ${problem}`);
      continue;
    }
    const dataUrl = await readDataUrl(file);
    if (dataUrl === null) {
      problems.push(`${file.name}: cannot be read any more.`);
      continue;
    }
    const total = [...present, ...pictures].reduce((sum, each) => sum + each.dataUrl.length, dataUrl.length);
    if (total > MAX_DATA_URL_CHARS) {
      problems.push(`${file.name}: with it the request would be larger than the server takes.`);
      continue;
    }
    numPictures += 1;
    pictures.push({ id: numPictures, name: file.name, numBytes: file.size, dataUrl });
  }
  return { pictures, problems };
}

function problemOf({ type, size }: File, numPresent: number): string | null {
  if (!PICTURE_TYPES.split(',').includes(type)) return 'is no PNG, JPEG, WebP or GIF picture.';
  if (size > MAX_PICTURE_BYTES)
    return `has ${formatBytes(size)}; a picture may have ${formatBytes(MAX_PICTURE_BYTES)}.`;
  if (numPresent >= MAX_PICTURES_PER_REQUEST)
    return `is one too many; a question may have ${MAX_PICTURES_PER_REQUEST} pictures.`;
  return null;
}

/** Null: since it was chosen it was moved, changed or taken away. */
function readDataUrl(file: File): Promise<string | null> {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(file);
  });
}

/** Of a paste or a drop; empty: it has none. */
export function filesOf(transfer: DataTransfer | null): File[] {
  return Array.from(transfer?.files ?? []);
}
