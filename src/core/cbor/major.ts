/** Major types of CBOR's heads, and how long a head is. Pure. Source: RFC 8949 §3. */
export const majorBytes = 2;
export const majorText = 3;
export const majorArray = 4;
export const majorMap = 5;
export const majorTag = 6;
/** Simple values and floats. */
export const majorSimple = 7;

/** Bytes of the shortest head that holds an argument below 2^32. */
export const shortestHeadBytes = (argument: number): number =>
  argument < 24 ? 1 : argument < 0x100 ? 2 : argument < 0x1_0000 ? 3 : 5;
