/**
 * Maps a request held by a proxy to an action and a target, by one rule for all proxies. Ambiguous paths, which servers
 * behind the proxy may interpret differently, are refused, never normalized. Source: docs/operating/envoy.md,
 * docs/operating/http.md.
 */
import { canonicalTarget, type Spelling } from "@sigil/core/record";

/** Methods are case-sensitive (RFC 9110 §9.1) but these actions are lower case, so lower-case methods would collide. */
const methodShape = /^[A-Z]+(?:-[A-Z]+)*$/;
const methodCharactersMax = 32;

/** Constructs that servers treat differently: some decode, truncate or drop them. */
const ambiguous: readonly (readonly [RegExp, string])[] = [
  [/^(?!\/)/, 'must begin with "/"'],
  [/\/\//, 'must have no "//"'],
  [/\\|%(?:25)*(?:2f|5c)/i, "must have no backslash, and no slash that is escaped"],
  [/;|%(?:25)*3b/i, 'must have no ";", escaped or not'],
];

/** `http.get` of `GET`. */
export const actionOfMethod = (method: string): Spelling =>
  method.length > methodCharactersMax || !methodShape.test(method)
    ? { kind: "refused", rule: `must be at most ${methodCharactersMax} capital letters` }
    : { kind: "canonical", text: `http.${method.toLowerCase()}` };

/** @param path as received; its query is removed. @param prefix of the target. */
export const targetOfPath = (path: string, prefix: string): Spelling => {
  const [bare = ""] = path.split("?", 1);
  const [, rule] = ambiguous.find(([shape]) => shape.test(bare)) ?? [];
  return rule === undefined ? canonicalTarget(`${prefix}${bare}`) : { kind: "refused", rule };
};
