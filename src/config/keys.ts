/**
 * All configuration keys with description, parser and default. The names of flags (`--tls-client-ca`), environment
 * variables (`SIGIL_TLS_CLIENT_CA`) and file keys (`[tls] client_ca`) are derived from this table.
 */
import {
  concurrentStreamsMax,
  connectionIdleMsMax,
  connectionSilentMsMax,
  connectionsMax,
  connectionsPerPeerMax,
  deadlineMsDefault,
  deadlineMsMax,
  intakeBytesMax,
  intakeBytesPerConnectionMax,
  messageBytesMax,
  moduleHostCallsMax,
  moduleInputBytesMax,
  moduleLogBytesMax,
  moduleMemoryPagesMax,
  moduleOutputBytesMax,
  moduleRunsMax,
  moduleRunsPerTenantMax,
  modulePoolProcesses,
  replyBytesMax,
  replyBytesPerCallerMax,
  runMsMax,
  sessionMemoryMiBMax,
  streamsMax,
  streamsPerCallerMax,
  streamsPerTenantMax,
} from "../limits.ts";
import { logLevels } from "../log/levels.ts";
import { formatAddress, parseAddress, type Address } from "./address.ts";
import { isNetwork } from "./network.ts";
import { BadRelay } from "./relay-fields.ts";
import { formatRelays, readRelays, type RelaySettings } from "./relays.ts";
import { formatSubjectSource, parseSubjectSource, type SubjectSource } from "./subject-source.ts";

/** An unparsed value: text from a flag or variable, typed from a TOML file. */
export type RawValue = string | number | boolean;

/** Thrown by parsers; the caller adds the key. */
export class BadValue extends Error {}

const refuse = (rule: string): never => {
  throw new BadValue(rule);
};

export type Key<Value> = {
  readonly what: string;
  readonly read: (raw: RawValue) => Value;
  /** Formats the value as it would be configured. */
  readonly show: (value: Value) => string;
  readonly initial: Value;
  /** Never printed, and accepted only from the environment: flags are visible in process lists. */
  readonly secret: boolean;
  /** Whether its flag needs no value. */
  readonly toggle: boolean;
  /** A list of tables in the file, JSON elsewhere. */
  readonly tables: boolean;
};

const key = <Value>(
  parts: Pick<Key<Value>, "what" | "read" | "initial"> & Partial<Key<Value>>,
): Key<Value> => ({
  show: String,
  secret: false,
  toggle: false,
  tables: false,
  ...parts,
});

const readText = (raw: RawValue): string =>
  typeof raw === "string" && raw !== "" ? raw : refuse("must be text, and not empty");

const text = (what: string, initial: string): Key<string> => key({ what, initial, read: readText });

const path = (what: string): Key<string> => text(what, "");

const secret = (what: string): Key<string> => key({ what, initial: "", read: readText, secret: true });

const toggle = (what: string, initial: boolean): Key<boolean> =>
  key<boolean>({
    what,
    initial,
    toggle: true,
    read: (raw) => {
      if (raw === true || raw === "true") return true;
      return raw === false || raw === "false" ? false : refuse("must be true or false");
    },
  });

const integer = (what: string, initial: number, [min, max]: readonly [number, number]): Key<number> =>
  key({
    what,
    initial,
    read: (raw) => {
      const value = typeof raw === "string" && /^\d{1,15}$/.test(raw) ? Number(raw) : raw;
      const fits = typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;
      return fits ? value : refuse(`must be a whole number from ${min} to ${max}`);
    },
  });

const choice = <Choice extends string>(
  what: string,
  initial: Choice,
  choices: readonly Choice[],
): Key<Choice> =>
  key({
    what,
    initial,
    read: (raw) => choices.find((one) => one === raw) ?? refuse(`must be one of ${choices.join(", ")}`),
  });

/** An octal file mode, as for `chmod`. */
const mode = (what: string, initial: number): Key<number> =>
  key({
    what,
    initial,
    show: (value) => value.toString(8).padStart(4, "0"),
    read: (raw) => {
      const text = typeof raw === "string" ? /^0?([0-7]{3})$/.exec(raw)?.[1] : undefined;
      const value = text === undefined ? 0 : Number.parseInt(text, 8);
      return (value & 0o600) === 0o600
        ? value
        : refuse('must be a file mode such as "0660", open to its owner');
    },
  });

const address = (what: string, initial: Address): Key<Address> =>
  key({
    what,
    initial,
    show: formatAddress,
    read: (raw) =>
      (typeof raw === "string" ? parseAddress(raw) : undefined) ??
      refuse("must be host:port, an IPv6 host in brackets, or unix:PATH of at most 107 bytes"),
  });

/** "off" for none. */
const optionalAddress = (what: string): Key<Address | null> => {
  const given = address(what, { host: "", port: 0 });
  return key<Address | null>({
    what,
    initial: null,
    show: (value) => (value === null ? "off" : formatAddress(value)),
    read: (raw) => (raw === "off" ? null : given.read(raw)),
  });
};

const hostName = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const isHostName = (text: string): boolean => hostName.test(text);

/** A comma-separated list, in lower case. */
const list = (what: string, isOne: (text: string) => boolean, rule: string): Key<readonly string[]> =>
  key<readonly string[]>({
    what,
    initial: [],
    show: (value) => value.join(","),
    read: (raw) => {
      const given = typeof raw === "string" ? raw.split(",").map((one) => one.trim().toLowerCase()) : [];
      return given.length > 0 && given.every(isOne) ? given : refuse(rule);
    },
  });

const subjectSource = (what: string, initial: SubjectSource): Key<SubjectSource> =>
  key({
    what,
    initial,
    show: formatSubjectSource,
    read: (raw) =>
      (typeof raw === "string" ? parseSubjectSource(raw) : undefined) ??
      refuse("must be source.principal, or metadata:FILTER/KEY and more keys after slashes"),
  });

/** Segments that are already canonical. */
const plainPrefix = /^[A-Za-z0-9_:-][A-Za-z0-9._:-]*(?:\/[A-Za-z0-9_:-][A-Za-z0-9._:-]*)*$/;
const prefixCharactersMax = 128;

const namePrefix = (what: string, initial: string): Key<string> =>
  key({
    what,
    initial,
    read: (raw) =>
      typeof raw === "string" && raw.length <= prefixCharactersMax && plainPrefix.test(raw)
        ? raw
        : refuse(
            `must be at most ${prefixCharactersMax} letters, digits and . _ : -, in segments between slashes`,
          ),
  });

/** Normalized by `URL`, so that it can be compared and concatenated as text. */
const publicUrl = (what: string): Key<string> =>
  key({
    what,
    initial: "",
    read: (raw) => {
      const url = typeof raw === "string" && URL.canParse(raw) ? new URL(raw) : undefined;
      const spelled = url === undefined ? "" : url.origin + url.pathname.replace(/\/$/, "");
      return url?.protocol === "https:" && spelled === raw
        ? spelled
        : refuse("must be an https URL without a query, a fragment or a slash at its end");
    },
  });

/** "/" for none. */
const pathPrefix = (what: string, initial: string): Key<string> =>
  key({
    what,
    initial,
    read: (raw) =>
      typeof raw === "string" &&
      raw.length <= prefixCharactersMax &&
      /^\/$|^(?:\/[A-Za-z0-9_~-][\w.~-]*)+$/.test(raw)
        ? raw
        : refuse("must be / or a path such as /logs/main, without a slash at its end"),
  });

const typeName = (what: string): Key<string> =>
  key({
    what,
    initial: "",
    read: (raw) =>
      typeof raw === "string" && /^[^:]{1,128}$/.test(raw)
        ? raw
        : refuse("must be a type, 1 to 128 characters without a colon"),
  });

const relayList = (what: string): Key<readonly RelaySettings[]> =>
  key<readonly RelaySettings[]>({
    what,
    initial: [],
    tables: true,
    show: formatRelays,
    read: (raw) => {
      try {
        return readRelays(String(raw));
      } catch (error) {
        if (error instanceof BadRelay) return refuse(error.message);
        throw error;
      }
    },
  });

const hourMs = 3_600_000;

export const KEYS = {
  data: text("The data directory.", ".sigil"),
  listen: address("Where gRPC is served.", { host: "127.0.0.1", port: 50_051 }),
  operator_listen: address("Where /metrics, /healthz and /readyz are served.", {
    host: "127.0.0.1",
    port: 50_052,
  }),
  http_listen: optionalAddress("Where HTTP is served: an address, or off."),
  http_hosts: list(
    "Names that HTTP is served under, besides addresses and localhost; separated by commas.",
    isHostName,
    "must be names of hosts, separated by commas, without ports",
  ),
  http_proxies: list(
    "Addresses and networks (10.0.0.0/8) of proxies that may ask about other people's requests; separated by commas.",
    isNetwork,
    "must be addresses, or networks as 10.0.0.0/8, separated by commas",
  ),
  ui: toggle("Serve a page to look at the deployment, at /ui where HTTP is served.", false),
  tiles: choice("Who is served the ledger's tiles (C2SP tlog-tiles) where HTTP is served.", "off", [
    "off",
    "authenticated",
    "public",
  ]),
  tiles_prefix: pathPrefix("The path that tiles are served below.", "/tlog"),
  tiles_interval_ms: integer("How often the checkpoint of the tiles moves, at most.", 1000, [0, hourMs]),
  checkpoint_mldsa44: toggle(
    "Sign checkpoints that are given as proofs by ML-DSA-44 too, with a key of its own; not with keys on a token.",
    false,
  ),
  witness_policy: path(
    "Witnesses that cosign the ledger's checkpoints, and how many it takes: a C2SP tlog-policy with their URLs.",
  ),
  witness_interval_ms: integer("How often each is asked, at most.", 1000, [10, hourMs]),
  commit_policy: choice(
    "What a decision's answer waits for: the local commit, or cosignatures that cover the record as well.",
    "local",
    ["local", "cosigned"],
  ),
  cosigned_timeout_ms: integer(
    "How long it waits for them; then the call is UNAVAILABLE.",
    5000,
    [10, 60_000],
  ),
  caller_head_seconds: integer(
    "Age at which a proof of completeness has the caller's newest number recorded.",
    60,
    [1, 86_400],
  ),
  anchor_required: toggle(
    "Refuse to start while a witness of that policy does not answer, or does not cosign.",
    false,
  ),
  public_url: publicUrl("The URL under which callers reach HTTP; AuthZEN's metadata names it."),
  socket_mode: mode("Mode of the files of Unix sockets to listen on.", 0o600),
  insecure_listen: toggle("Serve without TLS on an address that others can reach.", false),
  "tls.cert": path("Certificate chain of the server, a PEM file."),
  "tls.key": path("Private key of the server, a PEM file."),
  "tls.client_ca": path("Authorities of client certificates, a PEM file."),
  "tls.client_certificate": choice("Whether clients must show a certificate.", "optional", [
    "optional",
    "required",
  ]),
  anonymous: choice("Whether callers without token or certificate are Guests, or refused.", "allow", [
    "allow",
    "refuse",
  ]),
  "envoy.ext_authz": toggle("Answer Envoy's ext_authz (v3) where gRPC is served.", false),
  "envoy.subject": subjectSource("Where Envoy's check requests name the subject.", { kind: "principal" }),
  "envoy.target_prefix": namePrefix("Prefix of the targets of Envoy's check requests.", "api"),
  "authzen.subject_type": typeName("Type of AuthZEN subjects whose ids are principals as they are."),
  "authzen.resource_type": typeName("Type of AuthZEN resources whose ids are targets as they are."),
  "authzen.action_prefix": namePrefix("Prefix of every AuthZEN action name.", ""),
  relays: relayList("Where records are published to, as a list of tables; see docs/operating/relay.md."),
  passphrase: secret("The passphrase of the key-encryption key, where the deployment was made with one."),
  "pkcs11.module": path("The PKCS #11 library, a file, for tokens whose URI names none."),
  "pkcs11.pin": secret("The PIN of the token, where a key is on one whose URI names no file with it."),
  reflection: toggle("Serve gRPC reflection.", true),
  log_level: choice("The minimum level that is logged.", "info", logLevels),
  slow_call_ms: integer("Calls that take longer are logged.", 1000, [1, hourMs]),
  deadline_default_ms: integer("Deadline of calls that set none.", deadlineMsDefault, [1, hourMs]),
  deadline_max_ms: integer("Longest deadline; longer ones are cut to it.", deadlineMsMax, [1, hourMs]),
  drain_delay_ms: integer(
    "How long a stopping server, already NOT_SERVING, keeps serving before it drains.",
    0,
    [0, hourMs],
  ),
  drain_ms: integer("How long calls may take to finish when the server stops.", 10_000, [0, hourMs]),
  connection_age_ms: integer("Age at which a connection is closed gracefully (GOAWAY).", hourMs / 2, [
    1000,
    24 * hourMs,
  ]),
  connection_age_grace_ms: integer("How long its calls then have to finish.", 60_000, [1, hourMs]),
  keepalive_ms: integer("Silence after which a connection is probed.", 60_000, [1000, hourMs]),
  keepalive_timeout_ms: integer("How long it has to answer the probe.", 20_000, [100, hourMs]),
  message_bytes_max: integer("Largest message, each way.", messageBytesMax, [64 << 10, 64 << 20]),
  concurrent_streams_max: integer("Concurrent calls on one connection.", concurrentStreamsMax, [1, 100_000]),
  session_memory_mib_max: integer("Memory of one connection.", sessionMemoryMiBMax, [1, 4096]),
  intake_bytes_per_connection_max: integer(
    "Bytes of long messages of one connection, being received, decompressed or answered.",
    intakeBytesPerConnectionMax,
    [1 << 20, 1 << 30],
  ),
  intake_bytes_max: integer("Those of all connections.", intakeBytesMax, [1 << 20, 16 * (1 << 30)]),
  reply_bytes_per_caller_max: integer(
    "Bytes of long replies to one caller, in progress or unread.",
    replyBytesPerCallerMax,
    [1 << 20, 1 << 30],
  ),
  reply_bytes_max: integer("Those to all callers.", replyBytesMax, [1 << 20, 16 * (1 << 30)]),
  connections_max: integer(
    "Connections at once; fewer where the process may open fewer files.",
    connectionsMax,
    [1, 1_000_000],
  ),
  connections_per_peer_max: integer(
    "Unauthenticated connections of one address; at most half of all.",
    connectionsPerPeerMax,
    [1, 1_000_000],
  ),
  connection_silent_ms: integer("How long a connection may take to its first call.", connectionSilentMsMax, [
    100,
    hourMs,
  ]),
  connection_idle_ms: integer("How long an unauthenticated connection may be idle.", connectionIdleMsMax, [
    100,
    24 * hourMs,
  ]),
  streams_per_caller_max: integer("Concurrent streams of one caller.", streamsPerCallerMax, [1, 100_000]),
  streams_per_tenant_max: integer("Those of one tenant.", streamsPerTenantMax, [1, 100_000]),
  streams_max: integer("Those in all, of which some are Root's alone.", streamsMax, [2, 100_000]),
  module_runs_max: integer("Module runs in progress or waiting for a sandbox.", moduleRunsMax, [1, 10_000]),
  module_runs_per_tenant_max: integer("Those of one tenant.", moduleRunsPerTenantMax, [1, 10_000]),
  module_processes: integer("Sandbox processes, and so runs at once.", modulePoolProcesses, [1, 256]),
  module_processes_warm: integer("Idle processes kept ready.", modulePoolProcesses, [0, 256]),
  module_wall_ms_max: integer("Longest run; a manifest's own bound is cut to it.", runMsMax, [1, runMsMax]),
  module_memory_pages_max: integer(
    "Most memory of a run, in pages of 64 KiB; likewise.",
    moduleMemoryPagesMax,
    [1, 65_536],
  ),
  module_output_bytes_max: integer("Most output of a run; likewise.", moduleOutputBytesMax, [
    1,
    moduleOutputBytesMax,
  ]),
  module_log_bytes_max: integer("Most log of a run.", moduleLogBytesMax, [0, 1 << 20]),
  module_input_bytes_max: integer("Largest input of a run.", moduleInputBytesMax, [0, 16 << 20]),
  module_host_calls_max: integer(
    "Most calls of host functions in a run.",
    moduleHostCallsMax,
    [0, 1_000_000],
  ),
} as const;

export type KeyName = keyof typeof KEYS;

export type Values = { readonly [Name in KeyName]: (typeof KEYS)[Name]["initial"] };

export const keyNames = Object.keys(KEYS) as readonly KeyName[];

export const flagOf = (name: string): string => `--${name.replaceAll(/[._]/g, "-")}`;
export const variableOf = (name: string): string => `SIGIL_${name.replaceAll(".", "_").toUpperCase()}`;
