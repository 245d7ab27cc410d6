// Tensor names come from files and go into messages and terminals: they are short and printable, or refused.
import { AppError } from '../../common/errors.js';
import { MAX_TENSOR_NAME_CHARS } from '../../common/limits.js';

export function checkTensorName(name: string, path: string): void {
  if (
    name.length >= 1 &&
    name.length <= MAX_TENSOR_NAME_CHARS &&
    !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(name)
  )
    return;
  throw new AppError(
    'CORRUPT_WEIGHTS',
    `${path}: tensor name ${JSON.stringify(name.slice(0, 80))} is not 1 to ${MAX_TENSOR_NAME_CHARS} printable characters`,
  );
}
