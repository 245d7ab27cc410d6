// What a model's files say of text: its tokenizer and templates, and the sampling that absent fields of a request take.
import { NEUTRAL_SAMPLING, type SamplingDefaults } from '../../common/sampling.js';
import { alwaysReasons } from '../checkpoint/families/registry.js';
import type { DefaultTaken } from '../checkpoint/config-reader.js';
import { readGenerationConfig } from '../checkpoint/generation-config.js';
import { knownPictureTokenId } from '../checkpoint/known-models.js';
import type { Checkpoint } from '../checkpoint/model-spec.js';
import type { ClusterConfig } from '../config.js';
import { loadTextProcessor } from '../tokenizer/load-text-processor.js';
import type { LoadTextProcessorOptions, TextProcessor } from '../tokenizer/text-processor.js';
import { tokensOnlyProcessor } from '../tokenizer/tokens-only-processor.js';

export interface ModelText {
  readonly processor: TextProcessor;
  /** What another thread makes such a processor of; null: it takes no text. */
  readonly source: LoadTextProcessorOptions | null;
  readonly samplingDefaults: SamplingDefaults;
  readonly defaultsTaken: readonly DefaultTaken[];
}

export async function loadText(checkpoint: Checkpoint, config: ClusterConfig): Promise<ModelText> {
  const { folder, spec } = checkpoint;
  const generation = await readGenerationConfig(config.generationConfig, folder);
  const samplingDefaults = { ...NEUTRAL_SAMPLING, ...generation.sampling };
  const eosTokenIds = [...checkpoint.eosTokenIds, ...generation.eosTokenIds];
  const tokensPerTile = spec.tiling?.tokensPerTile ?? null;
  if (folder === null) {
    const processor = tokensOnlyProcessor({
      vocabSize: spec.text.vocabSize,
      stopTokenIds: eosTokenIds,
      pictureTokenId: knownPictureTokenId(spec.name),
      tokensPerTile,
    });
    return { processor, source: null, samplingDefaults, defaultsTaken: [] };
  }
  const source = {
    folder,
    eosTokenIds,
    tokensPerTile,
    reasoningStart: config.reasoningStart,
    alwaysReasons: alwaysReasons(spec.architecture),
  };
  const processor = await loadTextProcessor(source);
  const sampling = { setting: 'generation_config.json', value: 'neutral sampling', isFileMissing: true };
  const defaultsTaken = [...processor.defaultsTaken, ...(generation.isMissing ? [sampling] : [])];
  return { processor, source, samplingDefaults, defaultsTaken };
}
