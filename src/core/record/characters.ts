/**
 * Characters allowed in names, and those refused because they are invisible or look like the structural `/`, `.`, `%`
 * and `*`; and characters of any text that a reader cannot see. Pure. Source, of names: docs/spec/trust.md §2.
 */

/** ASCII characters written literally; other printable ASCII is percent-escaped. */
const plainAscii = /^[A-Za-z0-9 ._~:@+=|,;!*'()-]$/;

/** Letters, marks, digits, punctuation and symbols. No spaces, controls, private use or unassigned. */
const written = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;

/** Invisible, though Unicode counts them as letters, marks or symbols: fillers, variation selectors, blank patterns. */
const drawnBlank = String.raw`\p{Default_Ignorable_Code_Point}\u{2800}\u{1d159}`;
const unseen = new RegExp(`^[${drawnBlank}]$`, "u");

/** Besides those: controls, formats, surrogates, private and unassigned characters, line ends, blanks but U+0020. */
export const unseenCharacters = new RegExp(String.raw`(?! )[\p{C}\p{Z}${drawnBlank}]`, "gu");

/** JSON escapes of every UTF-16 unit. */
export const escaped = (characters: string): string =>
  Array.from(
    { length: characters.length },
    (_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("");

/** One line, with U+FFFD in place of each character that cannot be seen. */
export const visibleText = (text: string): string => text.replaceAll(unseenCharacters, "\u{fffd}");

/** Characters that readers, or best-fit mappings of file systems, confuse with `/` `\` `.` `..` `%` or `*`. */
export const structureLookAlikes: readonly string[] = [
  ..."\u2044\u2215\u2571\u27cb\u29f8\uff0f\u2100\u2101\u2105\u2106",
  ..."\u2216\u2572\u27cd\u29f5\u29f9\ufe68\uff3c",
  ..."\u2024\u2025\ufe30\ufe52\uff0e",
  ..."\ufe6a\uff05\ufe61\uff0a",
];

const lookAlikes: ReadonlySet<string> = new Set(structureLookAlikes);

/** Replacement characters of decoders: a name with one was corrupted. */
const lost: ReadonlySet<string> = new Set(["\ufffc", "\ufffd"]);

const mark = /^\p{M}$/u;
const control = /^\p{Cc}$/u;

/** A printable description of the character. */
const nameOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Whether the character is literal in a canonical name. */
export const isPlain = (character: string): boolean =>
  character < "\u0080" ? plainAscii.test(character) : characterFault(character) === null;

/** Whether it is a combining mark, which modifies the previous character. */
export const isMark = (character: string): boolean => mark.test(character);

/** Why the character is refused in names, escaped or not; null if it is allowed. */
export const characterFault = (character: string): string | null => {
  if (control.test(character)) return "must hold no control characters";
  if (character < "\u0080") return null;
  if (lost.has(character)) return `must not hold ${nameOf(character)}, which stands for what was lost`;
  if (lookAlikes.has(character)) {
    return `must not hold ${nameOf(character)}, which looks like one of / \\ . % *`;
  }
  return written.test(character) && !unseen.test(character)
    ? null
    : `must not hold ${nameOf(character)}: only letters, marks, digits, punctuation and symbols that can be seen`;
};
