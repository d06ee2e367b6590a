/**
 * Text of others on a terminal, for people who are about to sign it: two different texts never look the same. Pure.
 * ASCII and the letters listed for Latin stand as they are. The letters listed for one other script do where no letter
 * of another script stands beside them, and the script is named behind the quotes. Every other character is written as
 * a JSON escape: look-alikes, blanks, combining marks, whatever changes direction, and scripts with too many letters to
 * be compared.
 */

/**
 * Composed letters of European languages. Left out are those drawn like a listed one: Ð (Đ), dotless i, long s,
 * ligatures and breve e (caron e).
 */
const latin =
  "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿĀāĂăĄąĆćĈĉĊċČčĎďĐđĒēĖėĘęĚěĜĝĞğĠġĢģĤĥĦħĨĩĪīĮįİĴĵĶķĹĺĻļĽľŁł" +
  "ŃńŅņŇňŊŋŌōŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŦŧŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽž";

/** By the name that is shown. Left out are letters drawn like a digit, or like another letter of the same script. */
const otherScripts: ReadonlyMap<string, string> = new Map([
  ["Greek", "ΆΈΉΊΌΎΏΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ"],
  ["Cyrillic", "ЁЄІЇЎАБВГДЕЖИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюяёєіїўҐґ"],
]);

const asciiPrintable = /^[\x20-\x7e]$/;
const letter = /^\p{L}$/u;

const named = (name: string): readonly [string, RegExp] => [name, new RegExp(`^\\p{Script=${name}}$`, "u")];
/** Scripts that are named where they are mixed; any other is "another script". */
const scriptNames =
  "Latin Greek Cyrillic Han Hiragana Katakana Hangul Arabic Hebrew Armenian Cherokee Coptic Devanagari Georgian Thai"
    .split(" ")
    .map(named);

const scriptOf = (character: string): string =>
  scriptNames.find(([, shape]) => shape.test(character))?.[0] ?? "another script";

/** Every UTF-16 unit of the characters, as JSON writes them. */
export const escaped = (characters: string): string =>
  Array.from(
    { length: characters.length },
    (_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("");

/** What stands as it is, and what is said behind the quotes. */
type Reading = { readonly letters: string; readonly remark: string };

const read = (text: string): Reading => {
  const scripts = new Set([...text].filter((character) => letter.test(character)).map(scriptOf));
  if (scripts.size > 1) return { letters: latin, remark: ` (mixed: ${[...scripts].sort().join(", ")})` };
  const [only = "Latin"] = scripts;
  return only === "Latin"
    ? { letters: latin, remark: "" }
    : { letters: otherScripts.get(only) ?? "", remark: ` (${only})` };
};

/** The text in quotes, as JSON; behind them its script where that is not Latin, or that scripts are mixed. */
export const shownText = (text: string): string => {
  const { letters, remark } = read(text);
  const shown = [...JSON.stringify(text)].map((character) =>
    asciiPrintable.test(character) || letters.includes(character) ? character : escaped(character),
  );
  return shown.join("") + remark;
};
