// Original file: proto/skein/worker/v1/worker.proto


/**
 * Where the time of a load went, as seen by the thread that loads.
 */
export interface LoadTimes {
  'openMs'?: (number | string);
  /**
   * Waiting for bytes of files, their checksums included.
   */
  'readMs'?: (number | string);
  /**
   * Waiting for a buffer that is still on its way to the device.
   */
  'transferMs'?: (number | string);
  /**
   * Packing, repacking and quantising.
   */
  'prepareMs'?: (number | string);
  /**
   * Checksums and the look for what is no number; of the threads that read, all together; within read_ms.
   */
  'checksumMs'?: (number | string);
}

/**
 * Where the time of a load went, as seen by the thread that loads.
 */
export interface LoadTimes__Output {
  'openMs': (number);
  /**
   * Waiting for bytes of files, their checksums included.
   */
  'readMs': (number);
  /**
   * Waiting for a buffer that is still on its way to the device.
   */
  'transferMs': (number);
  /**
   * Packing, repacking and quantising.
   */
  'prepareMs': (number);
  /**
   * Checksums and the look for what is no number; of the threads that read, all together; within read_ms.
   */
  'checksumMs': (number);
}
