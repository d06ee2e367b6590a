/**
 * Connection settings: target, transport security and caller. Flags take precedence over `SIGIL_CLIENT_…`. Default: the
 * development server on this machine, as an anonymous Guest.
 */
import { readFile } from "node:fs/promises";
import {
  connect,
  createTokenSigner,
  SigilError,
  type SigilConnection,
  type TlsOptions,
  type TokenSigner,
} from "@sigil/client";
import { nearest } from "../../config/nearest.ts";
import { isServiceLink } from "../../config/service-links.ts";
import { usage, type Arguments, type Flags } from "../terminal/command.ts";
import { readOwnKey } from "../terminal/own-key.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

const defaultServer = "127.0.0.1:50051";
/** Limits the reconnect backoff, since a person or a watch is waiting. */
const reconnectKey = "grpc.max_reconnect_backoff_ms";
const reconnectMsMax = 2000;
const variablePrefix = "SIGIL_CLIENT_";

const callerFlags = {
  key: { value: "FILE", about: "The caller's private key; without one the caller is an anonymous Guest." },
  principal: { value: "ID", about: "Whose key it is." },
} as const satisfies Flags;

/** For commands with their own flags for the caller. */
export const serverFlags = {
  origin: { value: "NAME", about: "The deployment's origin; a server on this machine is asked for it." },
  server: { value: "HOST:PORT", about: `The server; default ${defaultServer}.` },
  "tls-ca": { value: "FILE", about: "Use TLS and trust these certificates (PEM)." },
  "tls-cert": { value: "FILE", about: "Use TLS and show this client certificate (PEM)." },
  "tls-key": { value: "FILE", about: "The client certificate's private key (PEM)." },
  tls: { about: "Use TLS with the system's certificates: the default for other machines." },
  plaintext: { about: "Use no TLS: the default for this machine. No token is sent to another one then." },
} as const satisfies Flags;

/** Flags of every command that calls a server. */
export const connectionFlags = { ...callerFlags, ...serverFlags } as const satisfies Flags;

type SettingName = Exclude<keyof typeof connectionFlags, "tls" | "plaintext">;

const variableOf = (name: string): string => variablePrefix + name.replaceAll("-", "_").toUpperCase();
const variables = Object.keys(connectionFlags).map(variableOf);

/** @throws usage for an unknown SIGIL_CLIENT_ variable. */
const checkVariables = (environment: Terminal["environment"]): void => {
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(variablePrefix) || variables.includes(name)) continue;
    if (isServiceLink(name, value ?? "")) continue;
    usage(`environment variable ${name} is not known; did you mean ${nearest(name, variables)}?`);
  }
};

/** The environment without the client's variables. */
export const withoutClientVariables = (environment: Terminal["environment"]): Terminal["environment"] =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith(variablePrefix)));

type Read = (name: SettingName) => string | undefined;

const reader =
  (given: Arguments, { environment }: Terminal): Read =>
  (name) =>
    given.text(name) ?? environment[variableOf(name)];

/** Whether the server is on this machine. */
const isThisMachine = (server: string): boolean =>
  server.startsWith("unix:") || /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(server);

const readPem = (path: string, flag: string): Promise<Uint8Array> =>
  readFile(path).catch(() => usage(`--${flag}: ${path} cannot be read`));

const readTls = async (given: Arguments, read: Read, server: string): Promise<TlsOptions | "insecure"> => {
  const files = { ca: read("tls-ca"), cert: read("tls-cert"), key: read("tls-key") };
  const wantsTls = given.has("tls") || Object.values(files).some((path) => path !== undefined);
  if (given.has("plaintext") && wantsTls) usage("--plaintext and --tls… exclude each other");
  if (given.has("plaintext") || (!wantsTls && isThisMachine(server))) return "insecure";
  if ((files.cert === undefined) !== (files.key === undefined)) usage("--tls-cert and --tls-key go together");
  return {
    ...(files.ca === undefined ? {} : { ca: await readPem(files.ca, "tls-ca") }),
    ...(files.cert === undefined ? {} : { cert: await readPem(files.cert, "tls-cert") }),
    ...(files.key === undefined ? {} : { key: await readPem(files.key, "tls-key") }),
  };
};

/**
 * A malicious server could name another deployment's origin and get a token for it, so only a local server is asked.
 */
export const findOrigin = async ({ read, server, tls }: Server): Promise<string> => {
  const named = read("origin");
  if (named !== undefined) return named;
  if (!isThisMachine(server)) return usage(`--origin NAME is needed to sign a token for ${server}`);
  using connection = connect({ target: server, tls, retry: "none" });
  return (await connection.audit.getCheckpoint({})).origin;
};

export type CallerSettings = { readonly principal: string; readonly keyPath: string };

/** Names of the flags for the caller. */
type CallerFlagNames = { readonly key: string; readonly principal: string };
const ownFlagNames: CallerFlagNames = { key: "key", principal: "principal" };

/**
 * The caller, or undefined. @param names the flags, for commands whose --key is not the caller's.
 * @throws usage if only one of both flags is given.
 */
export const readCaller = (
  given: Arguments,
  { environment }: Terminal,
  names: CallerFlagNames = ownFlagNames,
): CallerSettings | undefined => {
  const keyPath = given.text(names.key) ?? environment[variableOf("key")];
  const principal = given.text(names.principal) ?? environment[variableOf("principal")];
  if (keyPath === undefined && principal === undefined) return undefined;
  if (keyPath === undefined) return usage(`--${names.principal} needs --${names.key} FILE`);
  if (principal === undefined) return usage(`--${names.key} needs --${names.principal} ID`);
  return { principal, keyPath };
};

/** A server's target and transport security, without the caller. */
export type Server = {
  readonly server: string;
  readonly tls: TlsOptions | "insecure";
  readonly read: Read;
};

type Way = Server & { readonly caller: CallerSettings | undefined };

/** @throws usage. */
export const readServer = async (given: Arguments, terminal: Terminal): Promise<Server> => {
  checkVariables(terminal.environment);
  const read = reader(given, terminal);
  const server = read("server") ?? defaultServer;
  return { server, tls: await readTls(given, read, server), read };
};

const readWay = async (given: Arguments, terminal: Terminal): Promise<Way> => {
  const way = await readServer(given, terminal);
  return { ...way, caller: readCaller(given, terminal) };
};

/** @throws usage, notFound, looseMode, malformedKey. */
export const signerOf = async (
  way: Server,
  { principal, keyPath }: CallerSettings,
  terminal: Terminal,
  lifetimeSeconds?: number,
): Promise<TokenSigner> => {
  const { privateKey } = await readOwnKey(keyPath, terminal);
  const origin = await findOrigin(way);
  return createTokenSigner({
    principal,
    origin,
    privateKey,
    ...(lifetimeSeconds === undefined ? {} : { lifetimeSeconds }),
  });
};

/** Signs a token of the caller. @throws usage if no caller is given. */
export const signToken = async (
  given: Arguments,
  terminal: Terminal,
  lifetimeSeconds: number,
): Promise<string> => {
  const way = await readWay(given, terminal);
  const caller = way.caller ?? usage("--key FILE and --principal ID are needed");
  return (await signerOf(way, caller, terminal, lifetimeSeconds)).token();
};

/** Connects, runs the call and closes the connection. @throws SigilError, usage. */
export const withConnection = async <Result>(
  given: Arguments,
  terminal: Terminal,
  call: (connection: SigilConnection) => Promise<Result>,
): Promise<Result> => {
  const way = await readWay(given, terminal);
  const signer = way.caller === undefined ? undefined : await signerOf(way, way.caller, terminal);
  using connection = openConnection(way, signer);
  return await call(connection);
};

/** @throws usage if a token would leave this machine unprotected. */
export const openConnection = ({ server, tls }: Server, signer: TokenSigner | undefined): SigilConnection => {
  try {
    const channelOptions = { [reconnectKey]: reconnectMsMax };
    // A command is one call, and says what came of it: whoever types it decides whether to repeat it.
    return connect({ target: server, tls, signer, retry: "none", channelOptions });
  } catch (error) {
    return usage(error instanceof Error ? error.message : String(error));
  }
};

/** Describes a failed call: code, reason, offending fields, hints. Undefined for other errors. */
export const describeCallError = (error: unknown): string | undefined => {
  if (!(error instanceof SigilError)) return undefined;
  const { codeName, reason, fieldViolations, retryDelayMs, requestId } = error;
  const isUnreachable = codeName === "UNAVAILABLE" && reason === "";
  const lines = [
    printable(error.message).replace(/ Resolution note: *$/, "") +
      (reason === "" ? "" : ` (${printable(reason)})`),
    ...fieldViolations.map(({ field, description }) => `  ${printable(field)}: ${printable(description)}`),
    ...(retryDelayMs === undefined ? [] : [`  retry after ${retryDelayMs} ms`]),
    ...(requestId === undefined ? [] : [`  request ${printable(requestId)}`]),
    ...(isUnreachable ? ["  Is a server running there? sigil dev starts one on this machine."] : []),
  ];
  return lines.join("\n");
};

/** The error as JSON. */
export const callErrorJson = (error: SigilError): object => ({
  code: error.codeName,
  reason: error.reason,
  message: error.message,
  fieldViolations: error.fieldViolations,
  facts: error.facts,
});
