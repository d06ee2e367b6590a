/** Encodes parts of a WebAssembly binary. Pure. Numbers are shortest-form LEB128. */

export const leb = (value: number): number[] => {
  const bytes: number[] = [];
  let left = value;
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) + 0x80);
  return [...bytes, left];
};

export const signedLeb = (value: bigint): number[] => {
  const bytes: number[] = [];
  for (let left = value; ; left >>= 7n) {
    const low = Number(left & 0x7fn);
    const isLast = left >= -0x40n && left < 0x40n;
    bytes.push(isLast ? low : low + 0x80);
    if (isLast) return bytes;
  }
};

/** Prefixed with its length. */
export const sized = (bytes: readonly number[]): number[] => [...leb(bytes.length), ...bytes];
