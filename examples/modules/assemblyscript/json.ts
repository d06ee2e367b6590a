/**
 * As much JSON (RFC 8259) as a small tool needs: an object with exactly one member, which is a string, and strings on
 * the way out. Strict: valid UTF-8, no lone surrogates, nothing before or after. A text that is anything else ends the
 * run.
 */
import { fail, put, tail } from "./stdio";

let at: usize = 0;
let end: usize = 0;

function peek(): u8 {
  return at < end ? load<u8>(at) : 0;
}

function take(): u8 {
  const byte = peek();
  at += 1;
  return byte;
}

function skipSpace(): void {
  while (peek() == 32 || peek() == 9 || peek() == 10 || peek() == 13) at += 1;
}

function expect(byte: u8): void {
  skipSpace();
  if (take() != byte) fail("the input is not a JSON object with the one member that is asked for");
}

function fourHexDigits(): u32 {
  let value: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const byte: u32 = take();
    const letter = (byte | 32) - 97;
    if (byte - 48 < 10) value = value * 16 + (byte - 48);
    else if (letter < 6) value = value * 16 + letter + 10;
    else fail("the input has a \\u without four hexadecimal digits");
  }
  return value;
}

function putCodePoint(point: u32): void {
  if (point < 0x80) return put(<u8>point);
  if (point < 0x800) put(<u8>(0xc0 | (point >> 6)));
  else {
    if (point < 0x10000) put(<u8>(0xe0 | (point >> 12)));
    else {
      put(<u8>(0xf0 | (point >> 18)));
      put(<u8>(0x80 | ((point >> 12) & 63)));
    }
    put(<u8>(0x80 | ((point >> 6) & 63)));
  }
  put(<u8>(0x80 | (point & 63)));
}

/** Behind `\u`. A high surrogate stands only before a low one, and a low one only behind a high one. */
function putUnicodeEscape(): void {
  const first = fourHexDigits();
  if (first < 0xd800 || first > 0xdfff) return putCodePoint(first);
  if (first > 0xdbff || take() != 92 || take() != 117) fail("the input has a lone surrogate");
  const second = fourHexDigits();
  if (second < 0xdc00 || second > 0xdfff) fail("the input has a lone surrogate");
  putCodePoint(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
}

function putEscape(): void {
  const byte = take();
  if (byte == 34 || byte == 92 || byte == 47) put(byte);
  else if (byte == 98) put(8);
  else if (byte == 102) put(12);
  else if (byte == 110) put(10);
  else if (byte == 114) put(13);
  else if (byte == 116) put(9);
  else if (byte == 117) putUnicodeEscape();
  else fail("the input has an unknown escape");
}

/**
 * The rest of a UTF-8 sequence that `first` begins: no shorter form than needed, no surrogate, nothing past U+10FFFF.
 */
function putSequence(first: u8): void {
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  let lowest: u8 = 0x80;
  let highest: u8 = 0xbf;
  if (first == 0xe0) lowest = 0xa0;
  else if (first == 0xed) highest = 0x9f;
  else if (first == 0xf0) lowest = 0x90;
  else if (first == 0xf4) highest = 0x8f;
  if (first < 0xc2 || first > 0xf4) fail("the input is not UTF-8");
  put(first);
  for (let i = 1; i < length; i++) {
    const byte = take();
    if (byte < lowest || byte > highest) fail("the input is not UTF-8");
    put(byte);
    lowest = 0x80;
    highest = 0xbf;
  }
}

/** Puts the characters of a string on the tape. @returns where they begin; they end at `tail`. */
function readString(): usize {
  expect(34);
  const start = tail;
  for (let byte = take(); byte != 34; byte = take()) {
    if (byte == 92) putEscape();
    else if (byte < 32) fail("the input has a string that does not end, or a control character in it");
    else if (byte < 0x80) put(byte);
    else putSequence(byte);
  }
  return start;
}

/**
 * @param name ASCII.
 * @param start where the text begins; it ends at `tail`.
 * @returns where the characters of the member's value begin; they end at `tail`.
 */
export function readOnlyMember(name: string, start: usize): usize {
  at = start;
  end = tail;
  expect(123);
  const key = readString();
  if (tail - key != name.length) fail("the input has another member than the one that is asked for");
  for (let i = 0; i < name.length; i++) {
    if (load<u8>(key + i) != name.charCodeAt(i)) fail("the input has another member than the one that is asked for");
  }
  expect(58);
  const value = readString();
  expect(125);
  skipSpace();
  if (at != end) fail("the input goes on behind the JSON object");
  return value;
}

function putHexDigit(value: u8): void {
  put(value < 10 ? 48 + value : 87 + value);
}

/** U+2028 and U+2029 end a line in some languages, so writers of JSON escape them. */
function isLineSeparator(from: usize, until: usize): bool {
  if (until - from < 3 || load<u8>(from) != 0xe2 || load<u8>(from, 1) != 0x80) return false;
  return (load<u8>(from, 2) & 0xfe) == 0xa8;
}

/** Puts UTF-8 as the inside of a JSON string, each character in its one shortest form. */
export function putEscaped(from: usize, until: usize): void {
  while (from < until) {
    const byte = load<u8>(from);
    if (isLineSeparator(from, until)) {
      put(92), put(117), put(50), put(48), put(50);
      put(48 + (load<u8>(from, 2) & 1) + 8);
      from += 3;
      continue;
    }
    from += 1;
    if (byte >= 32 && byte != 34 && byte != 92) {
      put(byte);
      continue;
    }
    put(92);
    if (byte == 8) put(98);
    else if (byte == 9) put(116);
    else if (byte == 10) put(110);
    else if (byte == 12) put(102);
    else if (byte == 13) put(114);
    else if (byte >= 32) put(byte);
    else {
      put(117), put(48), put(48);
      putHexDigit(byte >> 4);
      putHexDigit(byte & 15);
    }
  }
}
