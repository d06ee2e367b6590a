/**
 * The configuration, by precedence: flags, environment (`SIGIL_…`), file (TOML), defaults; read once into one frozen
 * value. All bad values are reported together. Source: docs/operating/configuration.md.
 */
import { fail } from "../errors.ts";
import { BadValue, KEYS, keyNames, type Key, type KeyName, type Values } from "./keys.ts";
import {
  configVariable,
  readEnvironment,
  readFile,
  readFlags,
  type Given,
  type GivenValues,
  type Source,
} from "./sources.ts";
import { isLoopback } from "./address.ts";

export type Config = Values & {
  /** Source of each value. */
  readonly sources: Readonly<Record<KeyName, Source>>;
  /** Names of ignored SIGIL_ variables that Kubernetes sets. */
  readonly passedOver: readonly string[];
};

export type ConfigInputs = {
  /** Arguments after the command. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads the configuration file. */
  readonly readText: (path: string) => string;
};

type Fault = { readonly key: string; readonly rule: string };

const failAll = (faults: readonly Fault[]): void => {
  const [first, ...others] = faults;
  if (first === undefined) return;
  const rest = others.map(({ key, rule }) => `; config ${key}: ${rule}`).join("");
  fail({ kind: "invalidConfig", key: first.key, rule: first.rule + rest });
};

const readOne = (name: KeyName, given: Given | undefined, faults: Fault[]): unknown => {
  const { read, initial } = KEYS[name];
  if (given === undefined) return initial;
  try {
    return read(given.raw);
  } catch (error) {
    if (!(error instanceof BadValue)) throw error;
    faults.push({ key: labelOf(name, given.source), rule: error.message });
    return initial;
  }
};

/** The name under which the value was given, for error messages. */
const labelOf = (name: KeyName, source: Source): string => {
  switch (source.kind) {
    case "flag":
    case "environment":
      return source.name;
    case "file":
      return `${name} in ${source.path}`;
    case "default":
      return name;
  }
};

/** Rules across keys. */
const combinations = (values: Values): readonly Fault[] => {
  const faults: Fault[] = [];
  const hasTls = values["tls.cert"] !== "";
  if (hasTls !== (values["tls.key"] !== "")) {
    faults.push({ key: "tls", rule: "tls.cert and tls.key go together" });
  }
  if (values["tls.client_ca"] !== "" && !hasTls) {
    faults.push({ key: "tls.client_ca", rule: "needs tls.cert and tls.key" });
  }
  if (values["tls.client_certificate"] === "required" && values["tls.client_ca"] === "") {
    faults.push({ key: "tls.client_certificate", rule: "required needs tls.client_ca" });
  }
  if (values["envoy.ext_authz"] && values["tls.client_ca"] === "") {
    faults.push({ key: "envoy.ext_authz", rule: "needs tls.client_ca: Envoy calls by its certificate" });
  }
  for (const key of ["listen", "http_listen"] as const) {
    const address = values[key];
    if (address === null || isLoopback(address) || hasTls || values.insecure_listen) continue;
    const rule =
      "others can reach this address: give tls.cert and tls.key, or insecure_listen if you mean it";
    faults.push({ key, rule });
  }
  if (values.deadline_default_ms > values.deadline_max_ms) {
    faults.push({ key: "deadline_default_ms", rule: "must be at most deadline_max_ms" });
  }
  if (values.commit_policy === "cosigned" && values.witness_policy === "") {
    faults.push({ key: "commit_policy", rule: "cosigned needs witness_policy" });
  }
  if (values.commit_policy === "cosigned" && values.cosigned_timeout_ms >= values.deadline_default_ms) {
    faults.push({ key: "cosigned_timeout_ms", rule: "must be less than deadline_default_ms" });
  }
  return faults;
};

const readConfigFile = (
  { environment, readText }: ConfigInputs,
  flagged: string | undefined,
): GivenValues => {
  const path = flagged ?? environment[configVariable];
  if (path === undefined) return new Map();
  let content: string;
  try {
    content = readText(path);
  } catch (cause) {
    return fail({ kind: "invalidConfig", key: "config", rule: `cannot read ${path}` }, { cause });
  }
  return readFile(content, path);
};

/** @throws invalidConfig naming all bad values, or the first unknown name with the nearest known one. */
export const readConfig = (inputs: ConfigInputs): Config => {
  const flags = readFlags(inputs.argv);
  const environment = readEnvironment(inputs.environment);
  const file = readConfigFile(inputs, flags.configPath);
  const faults: Fault[] = [];
  const values: Record<string, unknown> = {};
  const sources: Record<string, Source> = {};
  for (const name of keyNames) {
    const given = flags.values.get(name) ?? environment.values.get(name) ?? file.get(name);
    values[name] = readOne(name, given, faults);
    sources[name] = given?.source ?? { kind: "default" };
  }
  failAll(faults);
  failAll(combinations(values as Values));
  const { passedOver } = environment;
  return Object.freeze({ ...values, sources: Object.freeze(sources), passedOver }) as Config;
};

/** The defaults with some values set, for programs that embed the server; checked by the same rules. */
export const makeConfig = (values: Partial<Values>): Config => {
  const sources = Object.freeze(Object.fromEntries(keyNames.map((name) => [name, { kind: "default" }])));
  const passedOver: readonly string[] = [];
  const initial: Readonly<Record<string, unknown>> = Object.fromEntries(
    keyNames.map((name) => [name, KEYS[name].initial]),
  );
  const config = { ...initial, ...values, sources, passedOver } as Config;
  failAll(combinations(config));
  return Object.freeze(config);
};

export type Setting = {
  readonly key: KeyName;
  readonly value: string;
  /** A description: "default", "flag --listen", "environment SIGIL_LISTEN" or "file sigil.toml". */
  readonly source: string;
  readonly what: string;
};

const describeSource = (source: Source): string => {
  switch (source.kind) {
    case "flag":
    case "environment":
      return `${source.kind} ${source.name}`;
    case "file":
      return `file ${source.path}`;
    case "default":
      return "default";
  }
};

const showValue = (config: Config, name: KeyName): string => {
  const { secret, show } = KEYS[name] as Key<unknown>;
  const value = config[name];
  return secret ? (value === "" ? "" : "********") : show(value);
};

/** The effective configuration, one line per key, secrets masked. */
export const describeConfig = (config: Config): readonly Setting[] =>
  keyNames.map((name) => ({
    key: name,
    value: showValue(config, name),
    source: describeSource(config.sources[name]),
    what: KEYS[name].what,
  }));
