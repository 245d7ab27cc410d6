// Which keywords of a JSON schema are understood where, and of what type it is.
import type { AppError } from '../../common/errors.js';

export type SchemaObject = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is SchemaObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const TYPES = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'];

/** By type, the keywords that say something of it. */
const OF_TYPE: Readonly<Record<string, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'additionalItems', 'minItems', 'maxItems'],
  string: ['pattern', 'minLength', 'maxLength'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
};
/** What is said by these is said whole: of what stands beside them, only the type counts. */
const WHOLE = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'];

type SaysNothing = (value: unknown, schema: SchemaObject) => boolean;
const never: SaysNothing = () => false;
const is =
  (...values: unknown[]): SaysNothing =>
  (value) =>
    values.includes(value);

/** Ignored, they would let pass what the schema refuses. */
const UNSUPPORTED: Readonly<Record<string, SaysNothing>> = {
  not: never,
  if: never,
  then: never,
  else: never,
  dependentRequired: never,
  dependentSchemas: never,
  dependencies: never,
  patternProperties: (value) => isRecord(value) && Object.keys(value).length === 0,
  propertyNames: is(true),
  minProperties: is(0),
  maxProperties: never,
  unevaluatedProperties: is(false, true),
  unevaluatedItems: is(false, true),
  uniqueItems: is(false),
  contains: never,
  minContains: never,
  maxContains: never,
  multipleOf: (value, { type }) => value === 1 && type === 'integer',
  $dynamicRef: never,
  $recursiveRef: never,
};

/** Throws what `refuse` makes of a keyword that is not held to. Those that nobody knows are annotations. */
export function refuseUnsupported(
  schema: SchemaObject,
  refuse: (keyword: string, problem: string) => AppError,
): void {
  for (const [keyword, saysNothing] of Object.entries(UNSUPPORTED)) {
    const value = schema[keyword];
    if (value !== undefined && !saysNothing(value, schema)) throw refuse(keyword, 'is not supported');
  }
  const whole = WHOLE.filter((keyword) => schema[keyword] !== undefined);
  if (whole.length === 0) return;
  const others = [...whole.slice(1), ...Object.values(OF_TYPE).flat()];
  const beside = others.find((keyword) => schema[keyword] !== undefined);
  if (beside !== undefined) throw refuse(beside, `is not supported beside ${whole[0]!}`);
}

/** Null: any. Where it is not said, what its keywords are about. */
export function typeOf(
  schema: SchemaObject,
  refuse: (problem: string) => AppError,
): readonly string[] | null {
  const { type } = schema;
  if (type === undefined) {
    const about = Object.entries(OF_TYPE).find(([, keywords]) =>
      keywords.some((keyword) => schema[keyword] !== undefined),
    );
    return about === undefined ? null : [about[0]];
  }
  const types: unknown[] = Array.isArray(type) ? type : [type];
  if (types.length === 0 || !types.every((each) => TYPES.includes(each as string)))
    throw refuse(`must be ${TYPES.join(', ')}, or a list of these`);
  return types as string[];
}
