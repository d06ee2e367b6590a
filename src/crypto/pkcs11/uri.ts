/**
 * PKCS #11 URIs of keys on a token: `pkcs11:token=sigil;object=kek?module-path=/usr/lib/…/libsofthsm2.so`. They are
 * stored and printed, so they never hold the PIN. Source: RFC 7512 §2.3.
 */
import { fail } from "../../errors.ts";

/** Attributes that select the token: each given one must match. */
export const tokenAttributes = ["token", "serial", "manufacturer", "model"] as const;

export type TokenUri = {
  readonly token?: string;
  readonly serial?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  /** The label of a key, or the prefix of several labels. */
  readonly object?: string;
  /** The PKCS #11 library, an absolute path. */
  readonly modulePath?: string;
  /** A file of 0600 that holds the PIN, an absolute path. */
  readonly pinSource?: string;
};

/** The setting that the URI is for. */
export type TokenSetting = "kek" | "custody";

const scheme = "pkcs11:";
export const isTokenUri = (text: string): boolean => text.startsWith(scheme);

const pathNames: readonly string[] = [...tokenAttributes, "object"];
const queryNames: Readonly<Record<string, "modulePath" | "pinSource">> = {
  "module-path": "modulePath",
  "pin-source": "pinSource",
};

type Refuse = (rule: string) => never;

const split = (text: string, separator: string, refuse: Refuse): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  for (const part of text === "" ? [] : text.split(separator)) {
    const at = part.indexOf("=");
    const name = part.slice(0, Math.max(0, at));
    // Errors do not quote the text: it may contain a PIN.
    if (!/^[a-z-]{1,32}$/.test(name)) refuse(`must be NAME=VALUE between each "${separator}"`);
    if (name.startsWith("pin-value")) {
      refuse("must not hold the PIN; say pin-source=file:/PATH or set SIGIL_PKCS11_PIN");
    }
    if (found.has(name)) refuse(`says ${name} twice`);
    try {
      found.set(name, decodeURIComponent(part.slice(at + 1)));
    } catch {
      refuse(`has a ${name} that is not percent-encoded UTF-8`);
    }
  }
  return found;
};

const filePath = (name: string, value: string, refuse: Refuse): string => {
  const path = name === "pin-source" && value.startsWith("file:") ? value.slice("file:".length) : value;
  // A relative path would depend on the working directory, a bare library name on the loader's search path.
  return path.startsWith("/") ? path : refuse(`needs an absolute path as ${name}`);
};

/** @throws invalidConfig, which quotes nothing of the text. */
export const parseTokenUri = (text: string, setting: TokenSetting): TokenUri => {
  const refuse: Refuse = (rule) =>
    fail({ kind: "invalidConfig", key: setting, rule: `a pkcs11: URI ${rule}` });
  const [path = "", query = "", ...rest] = text.slice(scheme.length).split("?");
  if (!isTokenUri(text) || rest.length > 0) refuse('must be pkcs11:… with at most one "?"');
  const uri: Record<string, string> = {};
  for (const [name, value] of split(path, ";", refuse)) {
    // RFC 7512 allows refusing unknown attributes: ignoring one could select another key.
    if (!pathNames.includes(name)) refuse(`takes ${pathNames.join(", ")} before the "?", not ${name}`);
    if (value === "") refuse(`has an empty ${name}`);
    uri[name] = value;
  }
  for (const [name, value] of split(query, "&", refuse)) {
    const field = queryNames[name];
    if (field === undefined) return refuse(`takes ${Object.keys(queryNames).join(", ")} after the "?"`);
    uri[field] = filePath(name, value, refuse);
  }
  if (tokenAttributes.every((name) => uri[name] === undefined)) refuse("must name the token, token=LABEL");
  if (setting === "kek" && uri["object"] === undefined) refuse("must name the key, object=LABEL");
  return uri;
};

/** Percent-encodes all but the characters that RFC 7512 allows in a value. */
const encode = (value: string): string =>
  encodeURIComponent(value).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%40", "@");

export const formatTokenUri = (uri: TokenUri): string => {
  const path = [...tokenAttributes, "object" as const].flatMap((name) => {
    const value = uri[name];
    return value === undefined ? [] : [`${name}=${encode(value).replaceAll("/", "%2F")}`];
  });
  const query = [
    ...(uri.modulePath === undefined ? [] : [`module-path=${encode(uri.modulePath)}`]),
    ...(uri.pinSource === undefined ? [] : [`pin-source=file:${encode(uri.pinSource)}`]),
  ];
  return `${scheme}${path.join(";")}${query.length === 0 ? "" : `?${query.join("&")}`}`;
};

/** The token part only, for messages: `token=sigil`. */
export const describeToken = (uri: TokenUri): string =>
  tokenAttributes.flatMap((name) => (uri[name] === undefined ? [] : [`${name}=${uri[name]}`])).join(";");
