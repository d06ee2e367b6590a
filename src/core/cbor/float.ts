/** Half and single precision floats as bits, IEEE 754. Pure. */

const cell = new DataView(new ArrayBuffer(4));

/** The single precision bits of the nearest value. */
export const singleBits = (value: number): number => {
  cell.setFloat32(0, value);
  return cell.getUint32(0);
};

/** The half precision bits of a finite value, or -1 if it has no exact half precision form. */
export const halfBits = (value: number): number => {
  const bits = singleBits(value);
  if (cell.getFloat32(0) !== value) return -1;
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const fraction = bits & 0x7f_ffff;
  if (exponent >= 113 && exponent <= 142) {
    return (fraction & 0x1fff) === 0 ? sign | ((exponent - 112) << 10) | (fraction >>> 13) : -1;
  }
  if (exponent >= 103 && exponent <= 112) {
    // Below 2^-14 half precision is subnormal: a count of 2^-24.
    const shift = 126 - exponent;
    const significand = fraction | 0x80_0000;
    return (significand & ((1 << shift) - 1)) === 0 ? sign | (significand >>> shift) : -1;
  }
  return (bits & 0x7fff_ffff) === 0 ? sign : -1;
};

/** The value of half precision bits; infinities and NaN included. */
export const halfValue = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};
