/**
 * Which characters a name may hold, and which it must not because nobody can tell them from nothing, or from the `/`,
 * `.`, `%` and `*` that give a name its structure. Pure. Source: docs/spec/trust.md §2, which lists both.
 */

/** ASCII that stands for itself; any other printable ASCII character stands as its escape. */
const plainAscii = /^[A-Za-z0-9 ._~:@+=|,;!*'()-]$/;

/**
 * Letters, marks, digits, punctuation and symbols: what is written and seen. No spaces, controls, private use,
 * unassigned.
 */
const written = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u;

/**
 * Drawn as nothing, though the standard counts them as letters, marks or symbols: fillers, selectors, blank patterns.
 */
const unseen = /^[\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]$/u;

/** What a reader, or a file system that maps to the nearest character, takes for `/` `\` `.` `..` `%` or `*`. */
export const structureLookAlikes: readonly string[] = [
  ..."\u2044\u2215\u2571\u27cb\u29f8\uff0f\u2100\u2101\u2105\u2106",
  ..."\u2216\u2572\u27cd\u29f5\u29f9\ufe68\uff3c",
  ..."\u2024\u2025\ufe30\ufe52\uff0e",
  ..."\ufe6a\uff05\ufe61\uff0a",
];

const lookAlikes: ReadonlySet<string> = new Set(structureLookAlikes);

/** What decoders put where bytes were lost, so a name with one is a name that nobody gave. */
const lost: ReadonlySet<string> = new Set(["\ufffc", "\ufffd"]);

const mark = /^\p{M}$/u;
const control = /^\p{Cc}$/u;

/** The character in words that show it whatever it is. */
const nameOf = (character: string): string =>
  `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;

/** Whether it stands for itself in a canonical name. */
export const isPlain = (character: string): boolean =>
  character < "\u0080" ? plainAscii.test(character) : characterFault(character) === null;

/** A mark changes the character before it. */
export const isMark = (character: string): boolean => mark.test(character);

/** Why the character may be in no name, escaped or not; null when it may. */
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
