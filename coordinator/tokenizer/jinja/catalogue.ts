// Which filters, tests, methods and names a template may use. What is not here is refused when the template is read, by
// name, so that no conversation finds out.
import { FILTERS } from './filters.js';
import { TESTS } from './tests.js';
import type { TokenStream } from './token-stream.js';

/** Jinja's, and not Skein's: no chat template has a use for them. */
const ABSENT_NAMES = ['lipsum'];
/** Methods of Python's values that a template may call in transformers and not here. */
const ABSENT_METHODS = [
  ...['encode', 'translate', 'maketrans', 'format_map', 'as_integer_ratio', 'conjugate', 'hex', 'fromhex'],
  ...['to_bytes', 'from_bytes', 'bit_count'],
];

export function checkFilter(name: string, stream: TokenStream): void {
  if (!FILTERS.has(name)) throw stream.error(`the filter ${name} is not supported`);
}

export function checkTest(name: string, stream: TokenStream): void {
  if (!TESTS.has(name)) throw stream.error(`the test ${name} is not supported`);
}

export function checkName(name: string, stream: TokenStream): void {
  if (ABSENT_NAMES.includes(name)) throw stream.error(`${name} is not supported`);
}

export function checkMethod(name: string, stream: TokenStream): void {
  if (ABSENT_METHODS.includes(name)) throw stream.error(`the method ${name} is not supported`);
}
