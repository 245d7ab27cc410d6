// A bound that many share, which one of them cannot take away from the others.

/** Beyond the bound, this part of it is kept for who holds less than that part. */
const RESERVE = 1 / 8;

/** Whether `numMore` are taken where `numHeld` are held, `numOwn` of them by the one who asks. */
export function hasRoom(numHeld: number, numMore: number, numOwn: number, limit: number): boolean {
  const reserve = Math.floor(limit * RESERVE);
  const extra = numOwn + numMore <= reserve ? reserve : 0;
  return numHeld + numMore <= limit + extra;
}
