// Errors of the addon as AppErrors: it throws plain Errors whose `code` is one of the catalogue.
import { AppError, isErrorCode } from '../errors.js';

export function fromNativeError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof Error) {
    const code: unknown = 'code' in error ? error.code : undefined;
    return new AppError(isErrorCode(code) ? code : 'INTERNAL', error.message, { cause: error });
  }
  return new AppError('INTERNAL', String(error));
}
