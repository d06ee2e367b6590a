/** JSON as a terminal may show it: nothing in it moves the cursor or hides words, and it still means the same. Pure. */

const hidden = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Every UTF-16 unit of the characters, as JSON writes them. */
const escaped = (characters: string): string =>
  Array.from(
    { length: characters.length },
    (_, at) => `\\u${characters.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("");

/** The same JSON with what is invisible written as escapes. Outside of strings JSON has none but line feeds. */
export const visibleJson = (json: string): string => json.replaceAll(hidden, escaped);

/** JSON text anew, over several lines. Text that is no JSON is shown as a JSON string. */
export const prettyJson = (json: string): string => {
  try {
    return visibleJson(JSON.stringify(JSON.parse(json), undefined, 2));
  } catch {
    return visibleJson(JSON.stringify(json));
  }
};
