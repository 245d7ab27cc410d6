// Finds what may be a limit outside of common/limits.ts: numbers of bytes, characters or time that have a name, stand
// in an option, or are handed to a timer. Which of them only tune, or follow from a format, is said in
// local-limits.json.
import ts from 'typescript';

const CONSTANT = /^(MAX|MIN|DEFAULT)_|_(MS|SECONDS|BYTES|CHARS|TIMEOUT|GRACE|SILENCE|FACTOR|LIMIT)$/;
const OPTION = /(Ms|Seconds|Bytes|Chars|Timeout)$|[._](ms|bytes)$/;
const TIMERS = new Set(['setTimeout', 'setInterval', 'setTimer', 'sleep', 'timeout']);

/** Names of constants, options and timer calls with a number of their own; 0 is no limit. */
export function strayLimits(text: string): string[] {
  const source = ts.createSourceFile('any.ts', text, ts.ScriptTarget.ES2023, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    const name = limitName(node);
    if (name !== null) found.push(name);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function limitName(node: ts.Node): string | null {
  if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name)) {
    const { text } = node.name;
    const isLimit = CONSTANT.test(text) && text === text.toUpperCase();
    return isLimit && isNumber(node.initializer) ? text : null;
  }
  if (ts.isPropertyAssignment(node) || ts.isPropertyDeclaration(node)) {
    const text = node.name.getText().replace(/^['"](.*)['"]$/, '$1');
    return OPTION.test(text) && isNumber(node.initializer) ? text : null;
  }
  if (!ts.isCallExpression(node)) return null;
  const callee = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
  const isTimer = TIMERS.has(callee.getText()) && node.arguments.some((argument) => isNumber(argument));
  return isTimer ? `${callee.getText()}()` : null;
}

/** A literal other than 0, or arithmetic of such with constants; what is read elsewhere and converted is none. */
function isNumber(node: ts.Expression | undefined): boolean {
  if (node === undefined) return false;
  if (ts.isNumericLiteral(node)) return Number(node.text) !== 0;
  if (ts.isParenthesizedExpression(node) || ts.isAsExpression(node)) return isNumber(node.expression);
  if (!ts.isBinaryExpression(node)) return false;
  const sides = [node.left, node.right];
  return sides.some(isNumber) && sides.every((side) => isNumber(side) || isConstant(side));
}

function isConstant(node: ts.Expression): boolean {
  return ts.isIdentifier(node) && node.text === node.text.toUpperCase();
}
