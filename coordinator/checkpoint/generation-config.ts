// The sampling that a checkpoint's authors recommend: generation_config.json as defaults of absent request fields, read
// as vLLM reads it. What the file does not say stays neutral; ids that end a sequence are read beside the other files'
// ones.
import path from 'node:path';
import { AppError } from '../../common/errors.js';
import { MAX_UINT32 } from '../../common/limits.js';
import {
  isInRange,
  rangeText,
  SAMPLING_RANGES,
  type SamplingDefaults,
  type SamplingRange,
} from '../../common/sampling.js';
import { ConfigReader } from './config-reader.js';

const FILE_NAME = 'generation_config.json';

/** Only what the file sets. */
export type GenerationDefaults = Partial<
  Pick<SamplingDefaults, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty' | 'maxTokens'>
>;

export interface GenerationConfig {
  readonly sampling: GenerationDefaults;
  /** Ids that end a sequence, beside those of the checkpoint's other files. */
  readonly eosTokenIds: readonly number[];
  /** The checkpoint has no such file. */
  readonly isMissing: boolean;
}

/**
 * `source`: "auto" is the file of `folder` (null: a model without files), where there is one; "none" reads nothing;
 * anything else is a folder that must have the file. Fails with CORRUPT_WEIGHTS, naming file and key, or
 * INVALID_REQUEST for such a folder.
 */
export async function readGenerationConfig(source: string, folder: string | null): Promise<GenerationConfig> {
  if (source === 'none' || (source === 'auto' && folder === null))
    return { sampling: {}, eosTokenIds: [], isMissing: false };
  const file = path.resolve(source === 'auto' ? folder! : source, FILE_NAME);
  const config = await ConfigReader.read(file);
  if (config !== null) {
    const eosTokenIds = config.tokenIds('eos_token_id');
    return { sampling: parseGenerationDefaults(config), eosTokenIds, isMissing: false };
  }
  if (source === 'auto') return { sampling: {}, eosTokenIds: [], isMissing: true };
  throw new AppError(
    'INVALID_REQUEST',
    `--generation-config: ${file} does not exist; expected auto, none or a folder that has it`,
    { details: { param: 'generation-config' } },
  );
}

function parseGenerationDefaults(config: ConfigReader): GenerationDefaults {
  const topK = config.optionalNumber(
    'top_k',
    (value) => Number.isInteger(value) && value >= -1 && value <= MAX_UINT32,
    'an integer, -1 or 0 for none',
  );
  const defaults = {
    temperature: readTemperature(config),
    topK: topK === undefined ? undefined : Math.max(topK, 0),
    topP: readNumber(config, 'topP'),
    minP: readNumber(config, 'minP'),
    repetitionPenalty: readNumber(config, 'repetitionPenalty'),
    maxTokens: config.optionalNumber(
      'max_new_tokens',
      (value) => Number.isInteger(value) && value >= 1 && value <= MAX_UINT32,
      'an integer of at least 1',
    ),
  };
  return Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined));
}

/**
 * do_sample false means the likeliest token, whatever temperature stands beside it; true without a temperature means 1.
 */
function readTemperature(config: ConfigReader): number | undefined {
  const temperature = readNumber(config, 'temperature');
  if (!config.has('do_sample')) return temperature;
  return config.boolean('do_sample', false) ? (temperature ?? 1) : 0;
}

function readNumber(
  config: ConfigReader,
  field: 'temperature' | 'topP' | 'minP' | 'repetitionPenalty',
): number | undefined {
  const range: SamplingRange = SAMPLING_RANGES[field];
  const expected = `a number ${range.isAboveMin ? '' : 'of '}${rangeText(range)}`;
  return config.optionalNumber(range.name, (value) => isInRange(value, range), expected);
}
