// Whether the reader of a request is behind, and who is to know: whoever computes the request plans no step for it
// meanwhile.
export class ReaderPause {
  #isPaused = false;
  #numPauses = 0;
  #tell: (isPaused: boolean) => void = () => undefined;

  get isPaused(): boolean {
    return this.#isPaused;
  }

  get numPauses(): number {
    return this.#numPauses;
  }

  /** Of changes; whoever was told before is not any more. */
  tells(tell: (isPaused: boolean) => void): void {
    this.#tell = tell;
  }

  change(isPaused: boolean): void {
    this.#isPaused = isPaused;
    if (isPaused) this.#numPauses += 1;
    this.#tell(isPaused);
  }
}
