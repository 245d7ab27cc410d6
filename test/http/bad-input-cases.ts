// Bad inputs, each as both APIs can say it, and the code with which it ends. The tests beside it send them.
import type { Case } from './bad-input-forms.js';
import { OPTION_CASES } from './bad-option-cases.js';
import { pictureCases } from './bad-picture-cases.js';
import { PROMPT_CASES } from './bad-prompt-cases.js';
import { SCHEMA_CASES } from './bad-schema-cases.js';

export async function badInputCases(): Promise<readonly Case[]> {
  return [...PROMPT_CASES, ...OPTION_CASES, ...SCHEMA_CASES, ...(await pictureCases())];
}
