/** JSON pointers (RFC 6901) for error messages. They name keys, so their length is bounded. */
import { pointerCharactersMax } from "../../limits.ts";

export const formatPointer = (path: readonly (string | number)[]): string =>
  path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** Truncates the text to `charactersMax`, with a mark. */
export const abbreviate = (text: string, charactersMax: number): string =>
  text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}…`;

/** The truncated text as a JSON string, so that control characters are escaped. */
export const quoted = (text: string): string => JSON.stringify(abbreviate(text, pointerCharactersMax));

/** `at "/a/0"`. */
export const atPointer = (pointer: string): string => `at ${quoted(pointer)}`;
