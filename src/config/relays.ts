/**
 * Parses the key `relays`: an array of tables in the file, a JSON array in a flag or variable. Errors name the index of
 * the relay and the field. Source: docs/operating/relay.md.
 */
import { resolve } from "node:path";
import { tenantFault, type Disclosing } from "@sigil/core/record";
import { relaysMax } from "../limits.ts";
import { isNetwork } from "./network.ts";
import { BadRelay, Fields, type Table } from "./relay-fields.ts";

/** Paths of PEM files, empty for none. */
export type RelayTlsFiles = { readonly ca: string; readonly cert: string; readonly key: string };

/** Paths of secret files, read at each connection. */
export type RelayCredentials =
  | { readonly kind: "none" }
  | { readonly kind: "creds"; readonly path: string }
  | { readonly kind: "token"; readonly path: string }
  | { readonly kind: "password"; readonly user: string; readonly path: string };

export type RelayTarget =
  | {
      readonly kind: "files";
      readonly directory: string;
      readonly fileBytesMax: number;
      readonly fileAgeMsMax: number;
    }
  | {
      readonly kind: "nats";
      readonly servers: readonly string[];
      readonly stream: string;
      readonly subjectPrefix: string;
      readonly replicas: number;
      readonly credentials: RelayCredentials;
      readonly tls: RelayTlsFiles | null;
    }
  | {
      readonly kind: "kafka";
      readonly connection: {
        /** `host:port`. */
        readonly servers: readonly string[];
        readonly tls: RelayTlsFiles | null;
        readonly login:
          | { readonly kind: "none" }
          | {
              readonly kind: "scram";
              readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512";
              readonly user: string;
              readonly passwordPath: string;
            };
      };
      readonly topic: string;
      readonly partitions: number;
      readonly replicas: number;
      readonly messageBytesMax: number;
    }
  | {
      readonly kind: "sqs";
      readonly queue: string;
      readonly region: string;
      /** "" for the region's own. */
      readonly endpoint: string;
      /** PEM file of the authorities of the endpoint's certificate; the system's without one. */
      readonly ca?: string;
      /** Message groups: one for each id, or one for the whole feed. */
      readonly groups: "record" | "feed";
      readonly onMissing: "create" | "fail";
    }
  | {
      readonly kind: "webhook";
      readonly url: string;
      readonly signature: "v1" | "v1a";
      /** Where it is read at each opening. */
      readonly secret:
        | { readonly kind: "file"; readonly path: string }
        | { readonly kind: "environment"; readonly name: string };
      /** Loopback, private and link-local subnets that may be reached. */
      readonly privateAddresses: readonly string[];
      readonly ca: string;
      readonly timeoutMs: number;
      readonly parallel: number;
      readonly messageBytesMax: number;
      readonly poison:
        | { readonly kind: "stop_key" }
        | { readonly kind: "dead_letter"; readonly path: string };
    };

export type RelaySettings = {
  readonly name: string;
  readonly target: RelayTarget;
  readonly typePrefix: string;
  readonly data: "full" | "metadata";
  readonly format: "envelope" | "json";
  /** What opens the commitments of its records: decisions' inputs among it. */
  readonly disclosures: Disclosing;
  /** Undefined means all. */
  readonly tenants: readonly string[] | undefined;
  readonly kinds: readonly string[] | undefined;
  readonly spaces: readonly string[] | undefined;
  /** First position to publish. */
  readonly from: bigint;
};

const nameShape = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** Subject and type prefixes: dot-separated tokens. */
const dottedShape = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,3}$/;
const streamShape = /^[A-Za-z0-9_-]{1,64}$/;
const minuteMs = 60_000;

const kindFault = (kind: string): string | null =>
  kind === "" || kind.length > 255 ? "must be a kind of record" : null;

const readCredentials = (fields: Fields): RelayCredentials => {
  const [creds, token, user, password] = ["credentials_file", "token_file", "user", "password_file"].map(
    (field) => fields.path(field),
  ) as [string, string, string, string];
  const given = [creds, token, user + password].filter((one) => one !== "");
  if (given.length > 1)
    fields.refuse("credentials_file", "goes with neither token_file nor user and password_file");
  if ((user === "") !== (password === "")) fields.refuse("user", "and password_file go together");
  if (creds !== "") return { kind: "creds", path: creds };
  if (token !== "") return { kind: "token", path: token };
  return user === "" ? { kind: "none" } : { kind: "password", user, path: password };
};

const serverFault = (server: string, schemes: readonly string[]): string | null => {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  const isServer = url !== undefined && schemes.includes(url.protocol) && url.host !== "";
  if (!isServer) return `must be ${schemes.map((scheme) => `${scheme}//host:port`).join(" or ")}`;
  return url.username === "" && url.password === "" ? null : "must hold no credentials: they go into files";
};

const readServers = (fields: Fields, schemes: readonly string[]): readonly string[] =>
  fields.list("servers", (server) => serverFault(server, schemes)) ??
  fields.refuse(
    "servers",
    `must be a list of ${schemes.map((scheme) => `${scheme}//`).join(" or ")} addresses`,
  );

const readTlsFiles = (fields: Fields): RelayTlsFiles => {
  const [ca, cert, key] = ["tls_ca", "tls_cert", "tls_key"].map((field) => fields.path(field)) as [
    string,
    string,
    string,
  ];
  if ((cert === "") !== (key === "")) fields.refuse("tls_cert", "and tls_key go together");
  return { ca, cert, key };
};

/** @param plain servers of this field that would be reached without TLS. */
const requirePrivate = (
  fields: Fields,
  field: "servers" | "endpoint",
  plain: readonly string[],
  data: RelaySettings["data"],
  scheme: string,
): void => {
  if (fields.switch("plaintext") || data !== "full" || plain.every(isLocal)) return;
  fields.refuse(
    field,
    `would get whole records without TLS: use ${scheme}, data = metadata, or plaintext = true`,
  );
};

/** Of an address with or without a port. */
const isLocal = (server: string): boolean =>
  /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(new URL(server).hostname);

const readNats = (fields: Fields, data: RelaySettings["data"]): RelayTarget => {
  const servers = readServers(fields, ["nats:", "tls:"]);
  const tls = readTlsFiles(fields);
  const hasTls = tls.ca !== "" || tls.cert !== "";
  const plain = hasTls ? [] : servers.filter((server) => server.startsWith("nats:"));
  requirePrivate(fields, "servers", plain, data, "tls://");
  return {
    kind: "nats",
    servers,
    stream: fields.shaped("stream", streamShape, "must be 1 to 64 letters, digits, _ or -"),
    subjectPrefix: fields.shaped(
      "subject_prefix",
      dottedShape,
      "must be 1 to 4 words with dots between",
      "sigil",
    ),
    replicas: fields.integer("replicas", [1, 5], 1),
    credentials: readCredentials(fields),
    tls: hasTls ? tls : null,
  };
};

const topicShape = /^(?!\.{1,2}$)(?!.*-g\d+$)[A-Za-z0-9._-]{1,200}$/;

const readLogin = (
  fields: Fields,
): Extract<RelayTarget, { readonly kind: "kafka" }>["connection"]["login"] => {
  const [user, passwordPath] = [fields.path("user"), fields.path("password_file")];
  const strength = fields.oneOf("scram", ["sha-256", "sha-512"], "sha-512");
  if ((user === "") !== (passwordPath === "")) fields.refuse("user", "and password_file go together");
  if (user === "") return { kind: "none" };
  return {
    kind: "scram",
    mechanism: strength === "sha-256" ? "SCRAM-SHA-256" : "SCRAM-SHA-512",
    user,
    passwordPath,
  };
};

const readKafka = (fields: Fields, data: RelaySettings["data"]): RelayTarget => {
  const servers = readServers(fields, ["kafka:", "kafkas:"]);
  const tls = readTlsFiles(fields);
  const plain = servers.filter((server) => server.startsWith("kafka:"));
  for (const [index, server] of servers.entries()) {
    if (new URL(server).port === "") fields.refuse(`servers[${index}]`, "must name a port");
  }
  if (plain.length > 0 && plain.length < servers.length) {
    fields.refuse("servers", "must be all kafka:// or all kafkas://");
  }
  if (plain.length > 0 && (tls.ca !== "" || tls.cert !== "")) {
    fields.refuse("tls_ca", "and tls_cert go with kafkas:// addresses");
  }
  requirePrivate(fields, "servers", plain, data, "kafkas://");
  return {
    kind: "kafka",
    connection: {
      servers: servers.map((server) => new URL(server).host),
      tls: plain.length > 0 ? null : tls,
      login: readLogin(fields),
    },
    topic: fields.shaped(
      "topic",
      topicShape,
      "must be 1 to 200 letters, digits, ., _ or -, and not end with -g and a number: generations do",
    ),
    partitions: fields.integer("partitions", [1, 256], 6),
    replicas: fields.integer("replicas", [1, 9], 1),
    messageBytesMax: fields.integer("message_bytes_max", [16 << 10, 64 << 20], 1 << 20),
  };
};

/** Names of FIFO queues end so, and have 80 characters at most. */
const queueShape = /^[A-Za-z0-9_-]{1,75}\.fifo$/;
const regionShape = /^[a-z0-9-]{1,32}$/;

/** "" where it is not given. */
const readEndpoint = (fields: Fields, data: RelaySettings["data"]): string => {
  const text = fields.path("endpoint");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin = url !== undefined && `${url.origin}/` === url.href;
  if (text !== "" && !(isOrigin && /^https?:$/.test(url.protocol)))
    return fields.refuse("endpoint", "must be https://host:port, without path and credentials");
  requirePrivate(fields, "endpoint", url?.protocol === "http:" ? [text] : [], data, "https://");
  return text;
};

const readSqs = (fields: Fields, data: RelaySettings["data"]): RelayTarget => {
  const [endpoint, ca] = [readEndpoint(fields, data), fields.path("tls_ca")];
  if (ca !== "" && endpoint.startsWith("http:")) fields.refuse("tls_ca", "goes with an https:// endpoint");
  return {
    kind: "sqs",
    queue: fields.shaped("queue", queueShape, "must be the name of a FIFO queue, which ends in .fifo"),
    region: fields.shaped("region", regionShape, "must be a region, as eu-central-1"),
    endpoint,
    ...(ca === "" ? {} : { ca }),
    groups: fields.oneOf("groups", ["record", "feed"], "record"),
    onMissing: fields.switch("create") ? "create" : "fail",
  };
};

const readFiles = (fields: Fields): RelayTarget => ({
  kind: "files",
  directory: fields.shaped("directory", /^\//, "must be an absolute path"),
  fileBytesMax: fields.integer("file_bytes_max", [4096, 2 ** 40], 64 << 20),
  fileAgeMsMax: fields.integer("file_minutes_max", [1, 366 * 24 * 60], 24 * 60) * minuteMs,
});

const readUrl = (fields: Fields): string => {
  const text = fields.text("url");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // The value is not repeated: a path can be a secret.
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:"))
    return fields.refuse("url", "must be https://host/path");
  if (url.username !== "" || url.password !== "") fields.refuse("url", "must hold no credentials");
  if (url.hash !== "") fields.refuse("url", "must have no fragment");
  if (url.protocol === "http:" && !isLocal(text))
    fields.refuse("url", "must be https:// beyond this machine");
  return url.href;
};

type Webhook = Extract<RelayTarget, { readonly kind: "webhook" }>;

const networkFault = (text: string): string | null =>
  isNetwork(text) && !text.includes("%") ? null : "must be an address, or a network as 10.1.0.0/16";

const readSecretPlace = (fields: Fields): Webhook["secret"] => {
  const [path, name] = [fields.path("secret_file"), fields.path("secret_env")];
  if ((path === "") === (name === "")) fields.refuse("secret_file", "or secret_env must be there, not both");
  return path === "" ? { kind: "environment", name } : { kind: "file", path };
};

const readPoison = (fields: Fields): Webhook["poison"] => {
  const kind = fields.oneOf("poison", ["stop_key", "dead_letter"], "stop_key");
  if (kind === "stop_key") return { kind };
  return { kind, path: fields.shaped("dead_letter_file", /^\//, "must be an absolute path") };
};

const readWebhook = (fields: Fields): RelayTarget => ({
  kind: "webhook",
  url: readUrl(fields),
  signature: fields.oneOf("signature", ["v1", "v1a"], "v1"),
  secret: readSecretPlace(fields),
  privateAddresses: fields.list("private_addresses", networkFault) ?? [],
  ca: fields.path("tls_ca"),
  timeoutMs: fields.integer("timeout_ms", [100, 60_000], 15_000),
  parallel: fields.integer("parallel", [1, 64], 8),
  messageBytesMax: fields.integer("message_bytes_max", [4096, 16 << 20], 1 << 20),
  poison: readPoison(fields),
});

const readTarget = (fields: Fields, to: RelayTarget["kind"], data: RelaySettings["data"]): RelayTarget => {
  switch (to) {
    case "files":
      return readFiles(fields);
    case "nats":
      return readNats(fields, data);
    case "sqs":
      return readSqs(fields, data);
    case "kafka":
      return readKafka(fields, data);
    case "webhook":
      return readWebhook(fields);
  }
};

const readDisclosing = (fields: Fields, data: RelaySettings["data"]): Disclosing => {
  if (!fields.switch("disclosures")) return "withheld";
  return data === "full" ? "included" : fields.refuse("disclosures", "goes with data = full");
};

const readRelay = (value: unknown, path: string): RelaySettings => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadRelay(`${path} must be a table`);
  }
  const fields = new Fields(value as Table, path);
  const name = fields.shaped("name", nameShape, "must be 1 to 32 of a-z, 0-9 and -");
  const to = fields.oneOf("to", ["files", "nats", "kafka", "sqs", "webhook"]);
  const data = fields.oneOf("data", ["full", "metadata"], "full");
  const settings: RelaySettings = {
    name,
    data,
    format: fields.oneOf("format", ["envelope", "json"], "envelope"),
    disclosures: readDisclosing(fields, data),
    typePrefix: fields.shaped("type_prefix", dottedShape, "must be 1 to 4 words with dots between", "sigil"),
    tenants: fields.list("tenants", tenantFault),
    kinds: fields.list("kinds", kindFault),
    spaces: fields.list("spaces", (one) =>
      one === "user" || one === "system" ? null : "must be user or system",
    ),
    from: BigInt(fields.integer("from", [0, Number.MAX_SAFE_INTEGER], 0)),
    target: readTarget(fields, to, data),
  };
  fields.end();
  return settings;
};

/** Must differ between relays: each would find the other's messages. */
const placesOf = ({ target }: RelaySettings): readonly string[] => {
  switch (target.kind) {
    case "files":
      return [`the directory ${resolve(target.directory)}`];
    case "nats":
      return [`the stream ${target.stream}`];
    case "sqs":
      return [`the queue ${target.queue} at ${target.endpoint === "" ? target.region : target.endpoint}`];
    case "kafka":
      return [`the topic ${target.topic}`];
    case "webhook":
      return target.poison.kind === "stop_key" ? [] : [`the dead letters ${resolve(target.poison.path)}`];
  }
};

const requireDistinct = (relays: readonly RelaySettings[]): void => {
  const seen = new Set<string>();
  for (const [index, relay] of relays.entries()) {
    for (const one of [`the name ${relay.name}`, ...placesOf(relay)]) {
      if (seen.has(one)) throw new BadRelay(`[${index}] has ${one}, as another relay has`);
      seen.add(one);
    }
  }
};

/** @param text a JSON array. @throws BadRelay. */
export const readRelays = (text: string): readonly RelaySettings[] => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BadRelay("must be [[relays]] tables in the file, or a JSON array of them");
  }
  if (!Array.isArray(value) || value.length > relaysMax) {
    throw new BadRelay(
      `must be [[relays]] tables in the file, or a JSON array of them; at most ${relaysMax}`,
    );
  }
  const relays = value.map((one: unknown, index) => readRelay(one, `[${index}]`));
  requireDistinct(relays);
  return relays;
};

/** Names only. */
export const formatRelays = (relays: readonly RelaySettings[]): string =>
  relays.map(({ name }) => name).join(",");
