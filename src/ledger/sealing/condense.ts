/**
 * Condenses a decision's envelope and its disclosures for their seal, byte for byte so that `expand.ts` makes the same
 * again. Every byte that is left out is compared first. Pure. Source: docs/spec/ledger.md §6. Takes statements of 256
 * bytes to 64 KiB without attestations, and disclosures of at most 32 KiB; everything else is sealed as it is.
 */
import { equalBytes, parseThumbprint, utf8Encode } from "@sigil/core/bytes";
import {
  cborEncode,
  majorArray,
  majorBytes,
  majorMap,
  majorSimple,
  majorTag,
  majorText,
  shortestHeadBytes,
} from "@sigil/core/cbor";
import { encodeProtected, recordContentType } from "@sigil/core/cose";
import { formatDisclosures, type Disclosures } from "@sigil/core/record";
import {
  type CondensedPlace,
  againMax,
  argumentAt,
  bodyBegins,
  codeAgain,
  codeEmptyDigest,
  codeFirstText,
  codeTenant,
  codeUuid,
  emptyDigest,
  headBytes,
  isAt,
  isHyphenAt,
  kidBytes,
  signatureBytes,
  textItems,
  uuidCharacters,
} from "./condensed-items.ts";

/** A text's place in the buckets below: its length and its first and last bytes tell nearly all of them apart. */
const bucketOf = (bytes: Uint8Array, start: number, end: number): number =>
  ((end - start) * 7 + (bytes[start] as number) * 3 + (bytes[end - 1] as number)) & 0xff;

/** Codes by bucket. */
const buckets: readonly (readonly number[])[] = Array.from({ length: 0x100 }, (_, bucket) =>
  textItems.flatMap((item, index) =>
    bucketOf(item, 1 + (item.length > 24 ? 1 : 0), item.length) === bucket ? [codeFirstText + index] : [],
  ),
);

const disclosuresBytesMax = 32 << 10;
/** A statement and what stands beside it; condensing makes nothing longer. */
const scratch = new Uint8Array(kidBytes + signatureBytes + (64 << 10) + disclosuresBytesMax + 64);

const hexValue = (character: number): number =>
  character >= 0x30 && character <= 0x39
    ? character - 0x30
    : character >= 0x61 && character <= 0x66
      ? character - 0x57
      : -1;

/** Condenses values one after the other into `scratch`. */
class Condenser {
  readonly #tenant: Uint8Array;
  #at: number;
  /** Offsets of the texts that may be named again: start and end of each. */
  readonly #again = new Int32Array(2 * againMax);
  #againCount = 0;

  constructor(tenant: Uint8Array, at: number) {
    this.#tenant = tenant;
    this.#at = at;
  }

  get length(): number {
    return this.#at;
  }

  /** @returns false for bytes that are not one value, of which each item begins as one of a canonical value may. */
  take(bytes: Uint8Array, start: number, end: number): boolean {
    this.#againCount = 0;
    let at = start;
    for (let left = 1; left > 0; left -= 1) {
      if (at >= end) return false;
      const initial = bytes[at] as number;
      const major = initial >> 5;
      const head = headBytes(initial);
      if (head === 0 || major === majorTag || (major === majorSimple && initial < 0xf4)) return false;
      let next = at + head;
      if (major === majorBytes || major === majorText) {
        const argument = argumentAt(bytes, at, head);
        if (argument < 0) return false;
        next += argument;
      } else if (major === majorArray || major === majorMap) {
        const argument = argumentAt(bytes, at, head);
        if (argument < 0 || argument > end - at) return false;
        left += argument * (major === majorMap ? 2 : 1);
      }
      if (next > end) return false;
      if (major === majorText) this.#text(bytes, at, at + head, next);
      else if (major === majorBytes && isAt(bytes, at, emptyDigest)) scratch[this.#at++] = codeEmptyDigest;
      else this.#copy(bytes, at, next);
      at = next;
    }
    return at === end;
  }

  #text(bytes: Uint8Array, at: number, content: number, end: number): void {
    if (content === end) return this.#copy(bytes, at, end);
    for (const code of buckets[bucketOf(bytes, content, end)] as readonly number[]) {
      const item = textItems[code - codeFirstText] as Uint8Array;
      if (item.length !== end - at || !isAt(bytes, at, item)) continue;
      scratch[this.#at++] = code;
      return;
    }
    if (end - at === this.#tenant.length && isAt(bytes, at, this.#tenant)) {
      scratch[this.#at++] = codeTenant;
      return;
    }
    for (let index = 0; index < this.#againCount; index += 1) {
      const from = this.#again[2 * index] as number;
      if ((this.#again[2 * index + 1] as number) - from !== end - at) continue;
      let same = 0;
      while (same < end - at && bytes[from + same] === bytes[at + same]) same += 1;
      if (same < end - at) continue;
      scratch[this.#at++] = codeAgain;
      scratch[this.#at++] = index;
      return;
    }
    if (this.#againCount < againMax) {
      this.#again[2 * this.#againCount] = at;
      this.#again[2 * this.#againCount + 1] = end;
      this.#againCount += 1;
    }
    if (end - content !== uuidCharacters || !this.#uuid(bytes, content)) this.#copy(bytes, at, end);
  }

  #uuid(bytes: Uint8Array, start: number): boolean {
    let at = this.#at + 1;
    for (let index = 0; index < uuidCharacters; index += 1) {
      const character = bytes[start + index] as number;
      if (isHyphenAt(index)) {
        if (character !== 0x2d) return false;
        continue;
      }
      const high = hexValue(character);
      index += 1;
      const low = hexValue(bytes[start + index] as number);
      if (high < 0 || low < 0) return false;
      scratch[at] = (high << 4) | low;
      at += 1;
    }
    scratch[this.#at] = codeUuid;
    this.#at = at;
    return true;
  }

  #copy(bytes: Uint8Array, start: number, end: number): void {
    let at = this.#at;
    for (let index = start; index < end; index += 1) scratch[at++] = bytes[index] as number;
    this.#at = at;
  }
}

/** The tenant's text, encoded; and the protected header before its subject. Those of one tenant and key come often. */
let knownTenant: { readonly tenant: string; readonly item: Uint8Array } | undefined;
let knownHeader: (CondensedPlace & { readonly kid: Uint8Array; readonly bytes: Uint8Array }) | undefined;

const tenantItem = (tenant: string): Uint8Array => {
  if (knownTenant?.tenant !== tenant) knownTenant = { tenant, item: cborEncode(tenant) };
  return knownTenant.item;
};

const kidAt = 45;
/** An array of two, a byte string with a head of three bytes, tag 18 and an array of four. */
const envelopeHeadBytes = 6;
/** The signature's head, the signature, and the empty array of attestations. */
const envelopeTailBytes = 2 + signatureBytes + 1;
const slashUserSlash = utf8Encode("/user/");
const headerBefore = ({ origin, tenant }: CondensedPlace, kid: Uint8Array): Uint8Array => {
  if (knownHeader?.origin === origin && knownHeader.tenant === tenant && equalBytes(knownHeader.kid, kid)) {
    return knownHeader.bytes;
  }
  const own = parseThumbprint(kid);
  const header = encodeProtected({ contentType: recordContentType, kid: own, origin, subject: "-" });
  knownHeader = { origin, tenant, kid: own, bytes: header.slice(0, -2) };
  return knownHeader.bytes;
};

/** Offsets of header and body in an envelope; undefined if it is no record's, or has attestations. */
const partsOf = (envelope: Uint8Array) => {
  const { length } = envelope;
  const tail = length - envelopeTailBytes;
  const statement = length - 5;
  if (
    envelope[0] !== 0x82 ||
    envelope[1] !== 0x59 ||
    ((envelope[2] as number) << 8) + (envelope[3] as number) !== statement ||
    statement < 0x100 ||
    envelope[4] !== 0xd2 ||
    envelope[5] !== 0x84 ||
    envelope[tail] !== 0x58 ||
    envelope[tail + 1] !== signatureBytes ||
    envelope[length - 1] !== 0x80
  ) {
    return undefined;
  }
  const header = rangeAt(envelope, envelopeHeadBytes);
  if (header === undefined || envelope[header.end] !== 0xa0) return undefined;
  const body = rangeAt(envelope, header.end + 1);
  return body === undefined || body.end !== tail ? undefined : { header, body, tail };
};

/** The content of the byte string at `at`, whose head is the shortest. */
const rangeAt = (bytes: Uint8Array, at: number) => {
  const initial = bytes[at] as number;
  const head = headBytes(initial);
  if (initial >> 5 !== majorBytes || head === 0 || head > 3) return undefined;
  const argument = argumentAt(bytes, at, head);
  const isShortest = head === 1 || argument >= (head === 2 ? 24 : 0x100);
  const start = at + head;
  return argument < 0 || !isShortest || start + argument > bytes.length
    ? undefined
    : { start, end: start + argument };
};

/** Whether the header names this place and the id of the body, so that it follows from both. */
const follows = (
  envelope: Uint8Array,
  { header, body }: NonNullable<ReturnType<typeof partsOf>>,
  place: CondensedPlace,
  kid: Uint8Array,
): boolean => {
  if (!isAt(envelope, body.start, bodyBegins)) return false;
  const idAt = body.start + bodyBegins.length;
  const initial = envelope[idAt] as number;
  const idHead = headBytes(initial);
  if (initial >> 5 !== majorText || idHead === 0 || idHead > 2) return false;
  const idBytes = argumentAt(envelope, idAt, idHead);
  const before = headerBefore(place, kid);
  if (!isAt(envelope, header.start, before)) return false;
  const tenant = tenantItem(place.tenant);
  const tenantHead = headBytes(tenant[0] as number);
  const subjectBytes = tenant.length - tenantHead + slashUserSlash.length + idBytes;
  const subjectHead = shortestHeadBytes(subjectBytes);
  let at = header.start + before.length;
  if (at + subjectHead + subjectBytes !== header.end) return false;
  if (envelope[at] !== (subjectHead === 1 ? 0x60 + subjectBytes : 0x78 + subjectHead - 2)) return false;
  if (subjectHead > 1 && argumentAt(envelope, at, subjectHead) !== subjectBytes) return false;
  at += subjectHead;
  for (let index = tenantHead; index < tenant.length; index += 1)
    if (envelope[at++] !== tenant[index]) return false;
  if (!isAt(envelope, at, slashUserSlash)) return false;
  at += slashUserSlash.length;
  for (let index = 0; index < idBytes; index += 1) {
    const character = envelope[idAt + idHead + index] as number;
    if (character > 0x7f || envelope[at + index] !== character) return false;
  }
  return true;
};

/**
 * @returns the condensed form, in a buffer that the next call uses again; undefined for what is to be kept as it is.
 */
export const condense = (
  envelope: Uint8Array,
  disclosures: Disclosures,
  place: CondensedPlace,
): Uint8Array | undefined => {
  const parts = partsOf(envelope);
  if (parts === undefined || parts.header.end - parts.header.start < kidAt + kidBytes) return undefined;
  const kidStart = parts.header.start + kidAt;
  const kid = envelope.subarray(kidStart, kidStart + kidBytes);
  if (!follows(envelope, parts, place, kid)) return undefined;
  for (const path of Object.keys(disclosures)) {
    const raw = disclosures[path]?.raw;
    if (raw !== undefined && raw.length > disclosuresBytesMax) return undefined;
  }
  const beside = cborEncode(formatDisclosures(disclosures));
  if (beside.length > disclosuresBytesMax) return undefined;
  scratch.set(kid, 0);
  scratch.set(envelope.subarray(parts.tail + 2, parts.tail + 2 + signatureBytes), kidBytes);
  const condenser = new Condenser(tenantItem(place.tenant), kidBytes + signatureBytes);
  if (!condenser.take(envelope, parts.body.start, parts.body.end)) return undefined;
  if (!condenser.take(beside, 0, beside.length)) return undefined;
  return scratch.subarray(0, condenser.length);
};
