/**
 * Confusable names, by UTS #39, ignoring case, blanks and invisible characters. Both the original and the lower-case
 * form are compared, since a capital I looks like an l but a small i does not.
 */
import unhomoglyph from "unhomoglyph";

const undrawn = /[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Zs}\u{2800}]/gu;

const skeleton = (text: string): string =>
  unhomoglyph(text.normalize("NFKD").replaceAll(undrawn, "")).normalize("NFKD");

/** Skeletons of a name, in original and lower case. Names that share one are confusable. */
const drawings = (text: string): readonly string[] => [
  `as written: ${skeleton(text)}`,
  `in small letters: ${skeleton(text.toLowerCase())}`,
];

/** True for different texts that are confusable. */
export const looksLike = (one: string, other: string): boolean => {
  if (one === other) return false;
  const drawn = drawings(one);
  return drawings(other).some((form) => drawn.includes(form));
};

/** Finds the known names that a text is confusable with. */
export const lookAlikesAmong = (known: Iterable<string>): ((text: string) => readonly string[]) => {
  const byDrawing = new Map<string, Set<string>>();
  for (const name of known) {
    for (const form of drawings(name)) {
      const names = byDrawing.get(form);
      if (names === undefined) byDrawing.set(form, new Set([name]));
      else names.add(name);
    }
  }
  return (text) => {
    const found = drawings(text).flatMap((form) => [...(byDrawing.get(form) ?? [])]);
    return [...new Set(found)].filter((name) => name !== text).sort();
  };
};
