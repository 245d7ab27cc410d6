// Pixels on their way to the ranks: had from where a request's pictures come from, put to every rank, let go of. A
// picture that cannot be had ends its sequence and nothing else.
import { assertDefined, InvariantError } from '../../common/assert.js';
import { toAppError } from '../../common/errors.js';
import type { Scheduler } from '../scheduler/scheduler.js';
import type { PictureUpload } from '../scheduler/step-plan.js';
import type { RankGroup } from './rank-group.js';
import type { PixelLease, PixelSource, SequenceListener, SequenceSubmission } from './submission.js';

export interface PictureUploadsOptions {
  readonly scheduler: Pick<Scheduler, 'takeUploads' | 'pictureUploaded' | 'pictureDropped'>;
  readonly group: Pick<RankGroup, 'putPicture' | 'fail'>;
  /** Undefined: it is over. */
  readonly submissionOf: (sequenceId: string) => SequenceSubmission | undefined;
  /** Epochs that are over have handed back what ran in them: the next one will ask for its pictures again. */
  readonly isEpochOver: () => boolean;
  readonly cancel: (sequenceId: string) => void;
  /** There may be something to plan that there was not before. */
  readonly onChange: () => void;
}

export class PictureUploads {
  readonly #options: PictureUploadsOptions;

  constructor(options: PictureUploadsOptions) {
    this.#options = options;
  }

  /** Those that the scheduler wants now. */
  start(): void {
    for (const upload of this.#options.scheduler.takeUploads()) void this.#upload(upload);
  }

  async #upload(upload: PictureUpload): Promise<void> {
    const { scheduler, group, submissionOf, isEpochOver, onChange } = this.#options;
    // The scheduler forgets uploads of sequences that were cancelled before this.
    const submission = assertDefined(submissionOf(upload.sequenceId), 'the sequence of an upload');
    const source = assertDefined(submission.pictures[upload.pictureIndex], 'the pixels of an upload');
    const lease = await this.#lease(source, upload, submission.listener);
    if (lease === null) return;
    try {
      const isThere = await group.putPicture(upload.pictureId, upload.tileSlots, lease.pixels);
      if (!isThere || isEpochOver()) return;
      scheduler.pictureUploaded(upload.pictureId);
      onChange();
    } catch (error) {
      group.fail(toAppError(error));
    } finally {
      lease.release();
    }
  }

  /** Null: there are none, and the sequence is over for it. */
  async #lease(
    source: PixelSource,
    { sequenceId, pictureId }: PictureUpload,
    listener: SequenceListener,
  ): Promise<PixelLease | null> {
    const { scheduler, group, submissionOf, isEpochOver, cancel, onChange } = this.#options;
    try {
      const lease = await source.lease();
      if (submissionOf(sequenceId) !== undefined) return lease;
      lease.release();
    } catch (error) {
      if (error instanceof InvariantError) group.fail(toAppError(error));
      else if (!isEpochOver()) listener.onFailure(toAppError(error));
    }
    if (isEpochOver()) return null;
    cancel(sequenceId);
    scheduler.pictureDropped(pictureId);
    onChange();
    return null;
  }
}
