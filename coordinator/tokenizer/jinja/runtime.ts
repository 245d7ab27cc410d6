// What filters and tests may ask of the rendering that they run in.
import type { Budget } from './budget.js';
import type { Arguments, Value } from './values.js';

export interface Runtime {
  readonly budget: Budget;
  attribute(object: Value, name: string): Value;
  item(object: Value, key: Value): Value;
  hasFilter(name: string): boolean;
  filter(name: string, value: Value, args: Arguments): Value;
  test(name: string, value: Value, args: Arguments): boolean;
}
