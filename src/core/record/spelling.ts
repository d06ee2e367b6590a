/**
 * Canonicalizes targets, subjects, actions, sessions and globs over them, or returns the rule that a text breaks. Pure.
 * Source: docs/spec/trust.md §2. Idempotent. Linear in the text, which is refused unread if it is more than
 * `escapedBytesPerByte` times as long as its canonical form may be.
 */
import { sha256 } from "../hash.ts";
import { toHex, utf8Decode, utf8Encode } from "../bytes.ts";
import { characterFault, isMark, isPlain } from "./characters.ts";
import { invalidField } from "../errors.ts";
import { actionBytesMax, principalIdBytesMax, sessionBytesMax, targetBytesMax } from "../limits.ts";
import { recordIdFault } from "./names.ts";

export type Spelling =
  | { readonly kind: "canonical"; readonly text: string }
  /** `rule` completes "<field> …". */
  | { readonly kind: "refused"; readonly rule: string };

const canonical = (text: string): Spelling => ({ kind: "canonical", text });
const refused = (rule: string): Spelling => ({ kind: "refused", rule });

/** `%C3`: three characters per byte. */
const escapedBytesPerByte = 3;

/** Fast path: names that are already canonical, as nearly all are. */
const plainName = /^(?!\.{1,2}(?:\/|$))[\w.~:@-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.~:@-]+)*$/;

/** Characters that must be escaped. */
const mustBeEscaped = /["#$&<>?[\\\]^`{}]/;

/** Runs of escapes, which together encode the bytes of characters. */
const escapes = /(?:%[0-9A-Fa-f]{2})+/g;

/** Decoding twice would give a dot, a slash or a control character. */
const escapedTwice = /%(?:25)*(?:2[ef]|5c|[01][0-9a-f]|7f)/i;

const dotSegment = /(?:^|[/\\])\.{1,2}(?:[/\\]|$)/;

const bytesOf = (escaped: string): Uint8Array =>
  Uint8Array.from(escaped.slice(1).split("%"), (byte) => Number.parseInt(byte, 16));

const escapeOf = (character: string): string =>
  `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;

class Refusal extends Error {}

const refuse = (rule: string): never => {
  throw new Refusal(rule);
};

/** Decodes escapes once. @throws Refusal. */
const decoded = (text: string): string => {
  const [bare] = mustBeEscaped.exec(text) ?? [];
  if (bare !== undefined) refuse(`must not hold ${bare} as it is: write ${escapeOf(bare)}`);
  if (text.replaceAll(escapes, "").includes("%")) refuse("must not hold a % that begins no escape");
  return text.replaceAll(escapes, (escaped) => {
    try {
      return utf8Decode(bytesOf(escaped));
    } catch {
      return refuse("must not hold escapes that are no UTF-8");
    }
  });
};

/** @throws Refusal. */
const encoded = (text: string, escapesStar: boolean): string => {
  let form = "";
  let mayTakeMark = false;
  for (const character of text) {
    const fault = characterFault(character);
    if (fault !== null) refuse(fault);
    if (isMark(character) && !mayTakeMark)
      refuse("must not hold a combining mark with no character before it");
    const stays = isPlain(character) && !(escapesStar && character === "*");
    form += stays ? character : escapeOf(character);
    mayTakeMark = stays && character !== " ";
  }
  return form;
};

/** @param isGlob keeps each raw `*` as a wildcard. @throws Refusal. */
const spellSegment = (segment: string, isGlob: boolean): string => {
  const pieces = (isGlob ? segment.split("*") : [segment]).map((piece) => decoded(piece).normalize("NFC"));
  const whole = pieces.join("*");
  if (dotSegment.test(whole)) refuse('must have no "." and no ".." segment, escaped or not');
  if (escapedTwice.test(whole))
    refuse("must not hold a dot, a slash or a control character that is escaped twice");
  if (whole.startsWith(" ") || whole.endsWith(" "))
    refuse("must have no segment that begins or ends with a space");
  return pieces.map((piece) => encoded(piece, isGlob)).join("*");
};

/** @returns the canonical segments. @throws Refusal. */
const spellSegments = (raw: string, bytesMax: number, isGlob: boolean): readonly string[] => {
  const tooLong = `must be 1 to ${bytesMax} bytes`;
  if (raw.length > bytesMax * escapedBytesPerByte) refuse(tooLong);
  if (!raw.isWellFormed()) refuse("must be valid UTF-8");
  const segments = raw
    .split("/")
    .filter((segment) => segment !== "")
    .map((segment) => spellSegment(segment, isGlob));
  if (segments.length === 0 || utf8Encode(segments.join("/")).length > bytesMax) refuse(tooLong);
  return segments;
};

const spell = (run: () => string): Spelling => {
  try {
    return canonical(run());
  } catch (error) {
    if (error instanceof Refusal) return refused(error.message);
    throw error;
  }
};

const isPlainName = (raw: string, bytesMax: number): boolean => raw.length <= bytesMax && plainName.test(raw);

export const canonicalTarget = (raw: string): Spelling =>
  isPlainName(raw, targetBytesMax)
    ? canonical(raw)
    : spell(() => spellSegments(raw, targetBytesMax, false).join("/"));

/** A glob over targets: `*` is a wildcard, a literal one is written `%2A`. */
export const canonicalTargetGlob = (raw: string): Spelling =>
  spell(() => spellSegments(raw, targetBytesMax, true).join("/"));

const actionRule = `must be 1 to ${actionBytesMax} bytes of letters, digits and . _ : / -`;
const actionCharacters = /^[A-Za-z0-9._:/-]+$/;
const actionGlobCharacters = /^[A-Za-z0-9._:/*-]+$/;

const spellAction = (raw: string, characters: RegExp, isGlob: boolean): Spelling =>
  raw.length > actionBytesMax || !characters.test(raw)
    ? refused(isGlob ? `${actionRule}, and *` : actionRule)
    : spell(() => spellSegments(raw, actionBytesMax, isGlob).join("/"));

/** Actions are program identifiers: ASCII only, no escapes. */
export const canonicalAction = (raw: string): Spelling =>
  isPlainName(raw, actionBytesMax) && actionCharacters.test(raw)
    ? canonical(raw)
    : spellAction(raw, actionCharacters, false);

export const canonicalActionGlob = (raw: string): Spelling => spellAction(raw, actionGlobCharacters, true);

const spiffeScheme = "spiffe:";
const hashedName = /^~[0-9A-Fa-f]{64}$/;

/**
 * Removes the scheme and this deployment's trust domain, which are case-insensitive (SPIFFE-ID §2). @throws Refusal.
 */
const withoutTrustDomain = (segments: readonly string[], trustDomain: string): readonly string[] => {
  const [scheme = "", authority = "", ...path] = segments;
  if (scheme.toLowerCase() !== spiffeScheme) return segments;
  const domain = authority.toLowerCase();
  if (path.length === 0) return refuse("must name a principal behind the SPIFFE trust domain");
  return domain === trustDomain.toLowerCase()
    ? withoutTrustDomain(path, trustDomain)
    : [spiffeScheme, domain, ...path];
};

/**
 * A principal's id. `spiffe://<trust domain>/<id>` is another spelling of `<id>`.
 * @param trustDomain the deployment's origin.
 */
export const canonicalSubject = (raw: string, trustDomain: string): Spelling => {
  if (isPlainName(raw, principalIdBytesMax) && !raw.includes("~") && !/^spiffe:/i.test(raw)) {
    return canonical(raw);
  }
  return spell(() => {
    const segments = withoutTrustDomain(spellSegments(raw, targetBytesMax, false), trustDomain);
    // Otherwise a principal enrolled by digest would have a second name.
    if (segments.some((segment) => hashedName.test(segment))) {
      refuse("must have no segment of ~ and 64 hexadecimal digits");
    }
    return segments.join("/");
  });
};

/** ASCII is always in composed form (NFC). */
const asciiOnly = /^\p{ASCII}*$/u;

/** A session is an opaque label chosen by the caller, compared for equality; only normalized to NFC. */
export const canonicalSession = (raw: string): Spelling => {
  if (raw.length <= sessionBytesMax && asciiOnly.test(raw)) return canonical(raw);
  const tooLong = refused(`must be at most ${sessionBytesMax} bytes`);
  if (raw.length > sessionBytesMax) return tooLong;
  if (!raw.isWellFormed()) return refused("must be valid UTF-8");
  const text = raw.normalize("NFC");
  return utf8Encode(raw).length > sessionBytesMax || utf8Encode(text).length > sessionBytesMax
    ? tooLong
    : canonical(text);
};

/** @throws invalidField naming `field`. */
export const requireSpelling = (spelling: Spelling, field: string): string =>
  spelling.kind === "canonical" ? spelling.text : invalidField(field, spelling.rule);

/** For texts recorded before canonicalization: the text itself if it has no canonical form. */
export const spellingOr = (spelling: Spelling, text: string): string =>
  spelling.kind === "canonical" ? spelling.text : text;

/** Whether a record id can hold the name literally. */
const isLiteralName = (name: string): boolean =>
  name.length <= principalIdBytesMax && recordIdFault(name) === null;

/**
 * The last part of the record id for a canonical name: the name if a record id can hold it, else `~` and its SHA-256 in
 * hexadecimal, with the name in the payload.
 */
export const enrolledName = (name: string): string =>
  isLiteralName(name) ? name : `~${toHex(sha256(utf8Encode(name)))}`;
