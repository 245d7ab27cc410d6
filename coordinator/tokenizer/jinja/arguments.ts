// Arguments of filters, tests and methods bound to their parameters, as Python binds them: by position, by name, or by
// default.
import { TemplateError, type Arguments, type Value } from './values.js';

/** A name, or a name with its default. */
export type Parameter = string | readonly [name: string, fallback: Value];

export function bind(what: string, parameters: readonly Parameter[], args: Arguments): Value[] {
  if (args.positional.length > parameters.length) {
    throw new TemplateError(
      `${what} takes ${parameters.length} arguments, ${args.positional.length} are given`,
    );
  }
  const names = parameters.map((parameter) => (typeof parameter === 'string' ? parameter : parameter[0]));
  for (const name of args.named.keys()) {
    const index = names.indexOf(name);
    if (index < 0) throw new TemplateError(`${what} has no argument '${name}'`);
    if (index < args.positional.length) throw new TemplateError(`${what} got '${name}' twice`);
  }
  return parameters.map((parameter, index) => {
    if (index < args.positional.length) return args.positional[index]!;
    const given = args.named.get(names[index]!);
    if (given !== undefined) return given;
    if (typeof parameter === 'string') throw new TemplateError(`${what} needs the argument '${parameter}'`);
    return parameter[1];
  });
}

const NO_NAMES: ReadonlyMap<string, Value> = new Map();

export function positional(...values: Value[]): Arguments {
  return { positional: values, named: NO_NAMES };
}
