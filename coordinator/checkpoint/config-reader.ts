// Typed access to a JSON configuration: every refusal names the file, the key and what was expected. Decides no
// defaults, and keeps a list of those that its callers took.
import { readFile, stat } from 'node:fs/promises';
import { AppError } from '../../common/errors.js';
import { MAX_CONFIG_BYTES, MAX_DIMENSION } from '../../common/limits.js';

/** A setting that no file gives, and what was taken instead. */
export interface DefaultTaken {
  /** Where it was looked for, and its key: "config.json: vision_config: norm_type". */
  readonly setting: string;
  readonly value: unknown;
  /**
   * A file that is not there says more than a key that is not: newer writers leave out keys that have their default.
   */
  readonly isFileMissing: boolean;
}

/** By setting: readers may ask for one twice. */
export type DefaultsTaken = Map<string, DefaultTaken>;

export class ConfigReader {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #defaults: DefaultsTaken;
  readonly #isFileMissing: boolean;

  /** `where` prefixes every message, e.g. "config.json: llm_config". */
  constructor(
    values: Readonly<Record<string, unknown>>,
    readonly where: string,
    defaults: DefaultsTaken = new Map(),
    isFileMissing = false,
  ) {
    this.#values = values;
    this.#defaults = defaults;
    this.#isFileMissing = isFileMissing;
  }

  /** Null where there is no such file. */
  static async read(path: string, defaults?: DefaultsTaken): Promise<ConfigReader | null> {
    const stats = await stat(path).catch(() => null);
    if (stats === null) return null;
    if (!stats.isFile() || stats.size > MAX_CONFIG_BYTES) {
      throw new AppError('CORRUPT_WEIGHTS', `${path}: expected a file of at most ${MAX_CONFIG_BYTES} bytes`);
    }
    return ConfigReader.parse(await readFile(path, 'utf8'), path, defaults);
  }

  static parse(text: string, fileName: string, defaults?: DefaultsTaken): ConfigReader {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new AppError('CORRUPT_WEIGHTS', `${fileName}: not valid JSON (${(error as Error).message})`, {
        cause: error,
      });
    }
    if (!isObject(value)) throw new AppError('CORRUPT_WEIGHTS', `${fileName}: expected a JSON object`);
    return new ConfigReader(value, fileName, defaults);
  }

  /** For a file that is not there: every key of it is absent. */
  absent(where: string): ConfigReader {
    return new ConfigReader({}, where, this.#defaults, true);
  }

  /** True when the key is there and is not null: configurations write null for "not set". */
  has(key: string): boolean {
    return Object.hasOwn(this.#values, key) && this.#values[key] !== null;
  }

  keys(): string[] {
    return Object.keys(this.#values);
  }

  /** True when the key is there and says null, where that means something else than its absence. */
  isNull(key: string): boolean {
    return this.#values[key] === null;
  }

  raw(key: string): unknown {
    return this.has(key) ? this.#values[key] : undefined;
  }

  object(key: string): ConfigReader | null {
    if (!this.has(key)) return null;
    const value = this.#values[key];
    if (!isObject(value)) throw this.invalid(key, 'an object');
    return new ConfigReader(value, `${this.where}: ${key}`, this.#defaults);
  }

  /** The first of the keys that is there, as an integer from 1 to 2^24. */
  dimension(keys: string | readonly string[], fallback: number): number {
    const key = this.#firstKey(keys);
    if (key === null) return this.#takeDefault(keys, fallback);
    const value = this.#values[key];
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MAX_DIMENSION) {
      throw this.invalid(key, `an integer from 1 to ${MAX_DIMENSION}`);
    }
    return value as number;
  }

  integer(key: string, fallback: number): number {
    if (!this.has(key)) return this.#takeDefault(key, fallback);
    const value = this.#values[key];
    if (!Number.isSafeInteger(value)) throw this.invalid(key, 'an integer');
    return value as number;
  }

  positiveNumber(key: string, fallback: number): number {
    if (!this.has(key)) return this.#takeDefault(key, fallback);
    const value = this.#values[key];
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.invalid(key, 'a number above 0');
    return value;
  }

  /** A number that `accepts`, which `expected` describes; undefined where the key is not set. */
  optionalNumber(key: string, accepts: (value: number) => boolean, expected: string): number | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#values[key];
    if (typeof value !== 'number' || !Number.isFinite(value) || !accepts(value))
      throw this.invalid(key, expected);
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    if (!this.has(key)) return this.#takeDefault(key, fallback);
    const value = this.#values[key];
    if (typeof value !== 'boolean') throw this.invalid(key, 'true or false');
    return value;
  }

  string(keys: string | readonly string[], fallback: string): string {
    const key = this.#firstKey(keys);
    if (key === null) return this.#takeDefault(keys, fallback);
    const value = this.#values[key];
    if (typeof value !== 'string') throw this.invalid(key, 'a string');
    return value;
  }

  /** A size given as n or [n, n]: pictures and patches are square. */
  squareSize(key: string, fallback: number): number {
    if (!this.has(key)) return this.#takeDefault(key, fallback);
    const value = this.#values[key];
    if (!Array.isArray(value)) return this.dimension(key, fallback);
    if (value.length !== 2 || value[0] !== value[1]) throw this.unsupported(key, 'a square size, [n, n]');
    return new ConfigReader({ [key]: value[0] as unknown }, this.where).dimension(key, fallback);
  }

  /** A token id, a list of them, or nothing. */
  tokenIds(key: string): number[] {
    if (!this.has(key)) return [];
    const value = this.#values[key];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.length > 64 || !ids.every((id) => Number.isInteger(id) && (id as number) >= 0)) {
      throw this.invalid(key, 'a token id or a list of at most 64');
    }
    return ids as number[];
  }

  numberTriple(key: string, fallback: readonly [number, number, number]): readonly [number, number, number] {
    if (!this.has(key)) return this.#takeDefault(key, fallback);
    const value = this.#values[key];
    if (!Array.isArray(value) || value.length !== 3 || !value.every((item) => Number.isFinite(item))) {
      throw this.invalid(key, 'three numbers');
    }
    return [value[0] as number, value[1] as number, value[2] as number];
  }

  /** Refuses a key that holds anything but `supported`; `fallback` is what its absence means. */
  requireOneOf(
    key: string,
    supported: readonly (string | number | boolean)[],
    fallback: string | number | boolean,
  ): void {
    const value = this.has(key) ? this.#values[key] : fallback;
    if (!supported.includes(value as string)) {
      const absent = this.has(key) ? '' : ' (its default, the key is absent)';
      throw new AppError(
        'UNSUPPORTED_MODEL',
        `${this.where}: ${key} is ${JSON.stringify(value)}${absent}; Skein supports ${supported.map((item) => JSON.stringify(item)).join(', ')}`,
      );
    }
    if (!this.has(key)) this.#takeDefault(key, fallback);
  }

  unsupported(key: string, expected: string): AppError {
    return new AppError(
      'UNSUPPORTED_MODEL',
      `${this.where}: ${key} is ${this.#show(key)}; Skein supports ${expected}`,
    );
  }

  invalid(key: string, expected: string): AppError {
    return new AppError(
      'CORRUPT_WEIGHTS',
      `${this.where}: ${key} must be ${expected}, got ${this.#show(key)}`,
    );
  }

  #show(key: string): string {
    const text = JSON.stringify(this.#values[key]) ?? 'nothing';
    return text.length > 80 ? `${text.slice(0, 80)}…` : text;
  }

  #takeDefault<Value>(keys: string | readonly string[], value: Value): Value {
    const setting = `${this.where}: ${typeof keys === 'string' ? keys : keys.join(' or ')}`;
    this.#defaults.set(setting, { setting, value, isFileMissing: this.#isFileMissing });
    return value;
  }

  #firstKey(keys: string | readonly string[]): string | null {
    if (typeof keys === 'string') return this.has(keys) ? keys : null;
    return keys.find((key) => this.has(key)) ?? null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
