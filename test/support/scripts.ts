// Loads a module of scripts/lib, which is plain JavaScript without types; the caller says which ones it expects.
import { pathToFileURL } from 'node:url';
import { repoPath } from './paths.js';

export async function loadScript<T>(name: string): Promise<T> {
  return (await import(pathToFileURL(repoPath('scripts', 'lib', name)).href)) as T;
}
