/**
 * The three sources of values, each read into raw values by key. An unknown name is an error that suggests the nearest
 * one, so that a typo never means a default.
 */
import { parse, TomlError } from "smol-toml";
import { fail } from "../errors.ts";
import { flagOf, KEYS, keyNames, variableOf, type KeyName, type RawValue } from "./keys.ts";
import { nearest } from "./nearest.ts";
import { isServiceLink } from "./service-links.ts";

export type Source =
  | { readonly kind: "flag"; readonly name: string }
  | { readonly kind: "environment"; readonly name: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "default" };

export type Given = { readonly raw: RawValue; readonly source: Source };
export type GivenValues = ReadonlyMap<KeyName, Given>;

/** Names the configuration file; not a key, since a file cannot name itself. */
const configFlag = "--config";
export const configVariable = "SIGIL_CONFIG";
/** The variable of `--kek env:SIGIL_KEK`: it holds a secret key and is not a configuration key. */
const kekVariable = "SIGIL_KEK";

const unknown = (name: string, known: readonly string[]): never =>
  fail({ kind: "invalidConfig", key: name, rule: `is not known; did you mean ${nearest(name, known)}?` });

const publicNames = keyNames.filter((name) => !KEYS[name].secret);
const byFlag = new Map(publicNames.map((name) => [flagOf(name), name]));
const byVariable = new Map(keyNames.map((name) => [variableOf(name), name]));

export type Flags = { readonly values: GivenValues; readonly configPath: string | undefined };

/** `--key value`, `--key=value`, and for switches also `--key` and `--no-key`. @throws invalidConfig. */
export const readFlags = (argv: readonly string[]): Flags => {
  const values = new Map<KeyName, Given>();
  let configPath: string | undefined;
  const words = argv.values();
  for (const word of words) {
    const [flag = "", ...rest] = word.split("=");
    const attached = rest.length === 0 ? undefined : rest.join("=");
    const valueOf = (): string =>
      attached ?? words.next().value ?? fail({ kind: "invalidConfig", key: flag, rule: "needs a value" });
    if (flag === configFlag) {
      configPath = valueOf();
      continue;
    }
    const negated = flag.startsWith("--no-") ? byFlag.get(`--${flag.slice("--no-".length)}`) : undefined;
    const name = byFlag.get(flag) ?? negated ?? unknown(flag, [...byFlag.keys(), configFlag]);
    const isToggle = KEYS[name].toggle && attached === undefined;
    const raw = isToggle ? name !== negated : valueOf();
    values.set(name, { raw, source: { kind: "flag", name: flag } });
  }
  return { values, configPath };
};

export type Environment = {
  readonly values: GivenValues;
  /** Ignored variables set by Kubernetes. */
  readonly passedOver: readonly string[];
};

/** @throws invalidConfig for a SIGIL_ variable that is neither a key nor set by Kubernetes. */
export const readEnvironment = (environment: Readonly<Record<string, string | undefined>>): Environment => {
  const values = new Map<KeyName, Given>();
  const passedOver: string[] = [];
  for (const [variable, raw] of Object.entries(environment)) {
    if (!variable.startsWith("SIGIL_") || raw === undefined) continue;
    if (variable === configVariable || variable === kekVariable) continue;
    const known = byVariable.get(variable);
    if (known === undefined && isServiceLink(variable, raw)) {
      passedOver.push(variable);
      continue;
    }
    const name = known ?? unknown(variable, [...byVariable.keys(), configVariable]);
    values.set(name, { raw, source: { kind: "environment", name: variable } });
  }
  return { values, passedOver };
};

const flatten = (table: object, prefix: string): readonly (readonly [string, unknown])[] =>
  Object.entries(table).flatMap(([name, value]: [string, unknown]) => {
    const isTable = typeof value === "object" && value !== null && !(value instanceof Date);
    return isTable && !Array.isArray(value)
      ? flatten(value, `${prefix}${name}.`)
      : [[`${prefix}${name}`, value] as const];
  });

const parseToml = (content: string, path: string): object => {
  try {
    return parse(content);
  } catch (error) {
    const where = error instanceof TomlError ? ` at line ${error.line}, column ${error.column}` : "";
    // Without a cause, which would quote the file.
    return fail({ kind: "invalidConfig", key: path, rule: `is not TOML${where}` });
  }
};

/** @throws invalidConfig for text that is not TOML, and for an unknown key. */
export const readFile = (content: string, path: string): GivenValues => {
  const values = new Map<KeyName, Given>();
  for (const [written, value] of flatten(parseToml(content, path), "")) {
    const name = publicNames.find((known) => known === written) ?? unknown(written, publicNames);
    const isPlain = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    // Keys that take tables get JSON. No other key takes a list or a date; passed as "", its own rule refuses it.
    const raw = isPlain ? value : KEYS[name].tables ? JSON.stringify(value) : "";
    values.set(name, { raw, source: { kind: "file", path } });
  }
  return values;
};
