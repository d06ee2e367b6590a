/**
 * Random bytes for ids and nonces, from a pool filled by the operating system 4 KiB at a time: one system call costs as
 * much as fifty draws. Each byte is used once and then erased.
 */
import { randomFillSync } from "node:crypto";
import { assert } from "../errors.ts";

const poolBytes = 4096;

export const createRandomPool = (
  fill: (pool: Uint8Array<ArrayBuffer>) => void = (pool) => void randomFillSync(pool),
): ((bytes: number) => Uint8Array) => {
  const pool = new Uint8Array(poolBytes);
  let used = poolBytes;
  return (bytes) => {
    assert(bytes >= 0 && bytes <= poolBytes, "a draw is no larger than the pool");
    if (used + bytes > poolBytes) {
      fill(pool);
      used = 0;
    }
    const drawn = pool.slice(used, used + bytes);
    pool.fill(0, used, used + bytes);
    used += bytes;
    return drawn;
  };
};

export const randomBytes = createRandomPool();
