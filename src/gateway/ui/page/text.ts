/**
 * Text of others on the page: what a reader cannot see is written out, so that no control character, direction mark or
 * blank that is not drawn hides or turns what stands there. Pure.
 */

/** Either as it came, or characters that cannot be seen, as their code points. */
export type TextPart = { readonly kind: "plain" | "escape"; readonly text: string };

/** As `unseenCharacters` of core, which the page does not load. */
const unseen = /(?:(?! )[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u{2800}\u{1D159}])+/gu;

const shownCharactersMax = 4_000;

const codePoints = (characters: string): string =>
  [...characters]
    .map((each) => `U+${(each.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`)
    .join(" ");

/** @returns parts in order; of text longer than 4,000 UTF-16 units the beginning, and how much is left out. */
export const partsOf = (text: string): readonly TextPart[] => {
  const shown = text.slice(0, shownCharactersMax);
  const parts: TextPart[] = [];
  let end = 0;
  for (const { 0: found, index } of shown.matchAll(unseen)) {
    if (index > end) parts.push({ kind: "plain", text: shown.slice(end, index) });
    parts.push({ kind: "escape", text: `⟨${codePoints(found)}⟩` });
    end = index + found.length;
  }
  if (end < shown.length) parts.push({ kind: "plain", text: shown.slice(end) });
  const left = text.length - shown.length;
  return left === 0 ? parts : [...parts, { kind: "escape", text: `⟨${left} more characters⟩` }];
};

/** A number of logits or a score, with its sign where it is a difference. */
export const decimal = (value: number, sign: "signed" | "plain" = "plain"): string => {
  const digits = Math.abs(value).toFixed(4);
  if (value < 0) return `−${digits}`;
  return sign === "signed" ? `+${digits}` : digits;
};

/** `VERDICT_ALLOW` of kind `VERDICT` → `allow`, as enums are named for people. */
export const enumName = (kind: string, value: string): string =>
  value.startsWith(`${kind}_`)
    ? value
        .slice(kind.length + 1)
        .toLowerCase()
        .replaceAll("_", " ")
    : value;

/** RFC 3339 in UTC, cut to the second, with a blank for the T. */
export const shownTime = (time: string): string => time.replace(/^(.{10})T(.{8}).*$/, "$1 $2");
