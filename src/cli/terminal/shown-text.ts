/**
 * Displays untrusted text for review before signing, so that different texts never look the same. Pure. ASCII and the
 * listed Latin letters are shown literally. Listed letters of one other script are shown literally if no letter of
 * another script is present, and the script is named after the quotes. All other characters are shown as JSON escapes:
 * look-alikes, blanks, combining marks, bidi controls, and scripts with too many letters to compare.
 */

import { escaped } from "@sigil/core/record";

/**
 * Precomposed letters of European languages, without those that look like a listed one: Ð (Đ), dotless i, long s,
 * ligatures and breve e (caron e).
 */
const latin =
  "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĖėĘęĚěĜĝĞğĠġĢģĤĥĦħĨĩĪīĮįİĴĵĶķĹĺĻļĽľŁł" +
  "ŃńŅņŇňŊŋŌōŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŦŧŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽž";

/** By displayed name. Without letters that look like a digit, or like another letter of the same script. */
const otherScripts: ReadonlyMap<string, string> = new Map([
  ["Greek", "ΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ"],
  ["Cyrillic", "ЁЄІЇЎАБВГДЕЖИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюяёєіїўҐґ"],
]);

const asciiPrintable = /^[\x20-\x7e]$/;
const letter = /^\p{L}$/u;

const named = (name: string): readonly [string, RegExp] => [name, new RegExp(`^\\p{Script=${name}}$`, "u")];
/** Scripts named in mixed text; any other is "another script". */
const scriptNames =
  "Latin Greek Cyrillic Han Hiragana Katakana Hangul Arabic Hebrew Armenian Cherokee Coptic Devanagari Georgian Thai"
    .split(" ")
    .map(named);

const scriptOf = (character: string): string =>
  scriptNames.find(([, shape]) => shape.test(character))?.[0] ?? "another script";

/** Characters shown literally, and the remark after the quotes. */
type Reading = { readonly letters: string; readonly remark: string };

const read = (text: string): Reading => {
  const scripts = new Set([...text].filter((character) => letter.test(character)).map(scriptOf));
  if (scripts.size > 1) return { letters: latin, remark: ` (mixed: ${[...scripts].sort().join(", ")})` };
  const [only = "Latin"] = scripts;
  return only === "Latin"
    ? { letters: latin, remark: "" }
    : { letters: otherScripts.get(only) ?? "", remark: ` (${only})` };
};

/** The text as a quoted JSON string, followed by its script if it is not Latin, or by a note that scripts are mixed. */
export const shownText = (text: string): string => {
  const { letters, remark } = read(text);
  const shown = [...JSON.stringify(text)].map((character) =>
    asciiPrintable.test(character) || letters.includes(character) ? character : escaped(character),
  );
  return shown.join("") + remark;
};
