// Why an epoch is over, in words for whom it interrupts.
import { AppError, ERROR_CATALOGUE } from '../../common/errors.js';

/** What requests are told: an epoch's end is no fault of theirs, and its deadlines are not those of their calls. */
export function epochFailure(error: AppError): AppError {
  const { code, message, details } = error;
  if (code === 'DEADLINE_EXCEEDED')
    return new AppError('WORKER_LOST', `a rank did not answer in time: ${message}`, {
      details,
      cause: error.cause ?? error,
    });
  if (ERROR_CATALOGUE[code].httpStatus >= 500) return error;
  return new AppError('INTERNAL', `the epoch failed: ${message}`, { details, cause: error.cause ?? error });
}
