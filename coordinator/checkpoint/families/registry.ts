// Chooses the family by the architecture string, or by the layout of a spec.
import { AppError } from '../../../common/errors.js';
import type { ConfigReader } from '../config-reader.js';
import type { ModelSpec } from '../model-spec.js';
import type { ModelFamily } from './family.js';
import { internvlChatFamily } from './internvl-chat.js';
import { internvlHfFamily } from './internvl-hf.js';
import { qwen2Family } from './qwen2.js';

const FAMILIES: readonly ModelFamily[] = [internvlChatFamily, internvlHfFamily, qwen2Family];

/** For configurations without `architectures`. */
const LAYOUT_OF_MODEL_TYPE: Readonly<Record<string, ModelSpec['layout']>> = {
  internvl_chat: 'internvl-chat',
  skywork_chat: 'internvl-chat',
  internvl: 'internvl-hf',
  qwen2: 'qwen2',
};

export function familyOfConfig(config: ConfigReader): ModelFamily {
  const architectures = config.raw('architectures');
  if (Array.isArray(architectures) && architectures.length > 0) {
    const family = FAMILIES.find((candidate) => candidate.architectures.includes(String(architectures[0])));
    if (family !== undefined) return family;
    throw config.unsupported(
      'architectures',
      FAMILIES.flatMap((candidate) => candidate.architectures).join(', '),
    );
  }
  const layout = LAYOUT_OF_MODEL_TYPE[config.string('model_type', '')];
  if (layout === undefined) {
    const known = FAMILIES.flatMap((candidate) => candidate.architectures).join(', ');
    throw new AppError(
      'UNSUPPORTED_MODEL',
      `${config.where}: architectures is missing; Skein supports ${known}`,
    );
  }
  return familyOfLayout(layout);
}

/**
 * Models that reason before every answer, be it that their template opens the reasoning or that they do so by
 * themselves.
 */
export function alwaysReasons(architecture: string): boolean {
  return architecture === 'SkyworkR1VChatModel';
}

export function familyOfLayout(layout: ModelSpec['layout']): ModelFamily {
  const family = FAMILIES.find((candidate) => candidate.layout === layout);
  if (family === undefined) throw new AppError('INTERNAL', `no family has the layout ${layout}`);
  return family;
}
