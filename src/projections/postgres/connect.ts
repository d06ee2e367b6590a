/**
 * One connection to PostgreSQL. The password comes from a file or the environment, never from an address, and stands in
 * no error and no log; a server that is not this machine is spoken to by TLS with its certificate verified, unless the
 * address says `sslmode=disable`. Every statement has a time limit, and a server that hangs is given up.
 */
import { readFile } from "node:fs/promises";
import { isIP, Socket } from "node:net";
import pg from "pg";
import { decodePart, isLoopback } from "../address.ts";
import { failProjection, guardedBy } from "../fault.ts";
import { projectionSilentMs, projectionStatementMs } from "../../limits.ts";

export type PostgresAddress = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** `verify` by the certificates of a file, or of the system; `off` in clear. */
  readonly tls: { readonly kind: "verify"; readonly caFile: string | undefined } | { readonly kind: "off" };
};

export type AddressOutcome =
  | { readonly kind: "ok"; readonly address: PostgresAddress }
  | { readonly kind: "refused"; readonly rule: string };

const refused = (rule: string): AddressOutcome => ({ kind: "refused", rule });

const knownParameters = ["sslmode", "sslrootcert"];

/** `postgres://user@host:port/database?sslmode=verify-full|disable&sslrootcert=FILE`. */
export const parsePostgresAddress = (text: string): AddressOutcome => {
  const url = URL.parse(text);
  if (url === null || !["postgres:", "postgresql:"].includes(url.protocol)) {
    return refused("must be postgres://USER@HOST:PORT/DATABASE");
  }
  if (url.password !== "") return refused("must hold no password: put it into a file, or into PGPASSWORD");
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const [user, database] = [decodePart(url.username), decodePart(url.pathname.slice(1))];
  if (user === undefined) return refused("must percent-encode its user as UTF-8");
  if (database === undefined) return refused("must percent-encode its database as UTF-8");
  if (host === "" || database === "" || user === "") {
    return refused("must name a user, a host and a database: postgres://USER@HOST:PORT/DATABASE");
  }
  const unknown = [...url.searchParams.keys()].find((name) => !knownParameters.includes(name));
  if (unknown !== undefined) return refused(`knows no parameter ${unknown}: sslmode and sslrootcert are all`);
  const mode = url.searchParams.get("sslmode") ?? (isLoopback(host) ? "disable" : "verify-full");
  if (mode !== "verify-full" && mode !== "disable") return refused("sslmode must be verify-full or disable");
  const caFile = url.searchParams.get("sslrootcert") ?? undefined;
  if (mode === "disable" && caFile !== undefined) return refused("sslrootcert needs sslmode=verify-full");
  return {
    kind: "ok",
    address: {
      host,
      port: url.port === "" ? 5432 : Number(url.port),
      database,
      user,
      tls: mode === "disable" ? { kind: "off" } : { kind: "verify", caFile },
    },
  };
};

/** For a person: without anything that is secret. */
export const describeAddress = ({ host, port, database, user }: PostgresAddress): string =>
  `postgres://${user}@${host}:${port}/${database}`;

type Failing = { readonly code?: unknown; readonly message?: unknown };

/**
 * By its code; the driver's own sentences hold names of tables, never rows or passwords. @throws ProjectionFault:
 * databaseFailed, for whatever `work` throws beside faults of a projection.
 */
export const guarded = guardedBy((cause) => {
  const { code, message } = (cause ?? {}) as Failing;
  return {
    code: typeof code === "string" ? code : "no code",
    rule: typeof message === "string" ? message : "unknown failure",
  };
});

/** Of types whose text JavaScript would round or parse: 20 is int8, 3802 jsonb. */
const parsers: Readonly<Record<number, (text: string) => unknown>> = {
  20: (text) => BigInt(text),
  3802: (text) => text,
};

const types = {
  getTypeParser: (oid: number, format?: "text" | "binary") =>
    (format !== "binary" ? parsers[oid] : undefined) ?? pg.types.getTypeParser(oid, format),
};

const tlsOf = async ({ tls, host }: PostgresAddress): Promise<pg.ClientConfig["ssl"]> => {
  if (tls.kind === "off") return false;
  const servername = isIP(host) === 0 ? { servername: host } : {};
  if (tls.caFile === undefined) return { rejectUnauthorized: true, ...servername };
  try {
    return { rejectUnauthorized: true, ca: await readFile(tls.caFile, "utf8"), ...servername };
  } catch (cause) {
    const rule = `cannot read the certificates in ${tls.caFile}`;
    return failProjection({ kind: "databaseFailed", code: "no certificates", rule }, { cause });
  }
};

/** Looks per silence: a process that was suspended itself counts no look for it. */
const looks = 15;

/**
 * Ends the connection of a server that was spoken to and says nothing: one that hangs keeps its end open, and enforces
 * no time limit. Between statements silence is usual.
 */
const endSilence = (client: pg.Client, silentMs: number): void => {
  const { stream } = client.connection;
  if (!(stream instanceof Socket)) return;
  let [settled, moved, silent] = [stream.bytesWritten, 0, 0];
  client.on("drain", () => (settled = stream.bytesWritten));
  const look = setInterval(() => {
    const bytes = stream.bytesRead + stream.bytesWritten;
    const isWaiting = stream.bytesWritten > settled;
    silent = isWaiting && bytes === moved ? silent + 1 : 0;
    moved = bytes;
    if (silent < looks) return;
    const rule = `the server has said nothing for ${Math.round(silentMs / 1000)} s`;
    stream.destroy(Object.assign(new Error(rule), { code: "ETIMEDOUT" }));
  }, silentMs / looks).unref();
  client.once("end", () => clearInterval(look));
};

/**
 * @param password undefined where the server asks for none. @param silentMs until a server that does not answer is
 * given up.
 * @throws ProjectionFault: databaseFailed.
 */
export const connectPostgres = async (
  address: PostgresAddress,
  password: string | undefined,
  silentMs: number = projectionSilentMs,
): Promise<pg.Client> => {
  const { host, port, database, user } = address;
  const client = new pg.Client({
    host,
    port,
    database,
    user,
    password: password ?? "",
    ssl: await tlsOf(address),
    types,
    application_name: "sigil project",
    statement_timeout: projectionStatementMs,
    connectionTimeoutMillis: projectionStatementMs,
  });
  // A connection that ends between two statements fails the next one; nobody else listens.
  client.on("error", () => {});
  await guarded(() => client.connect());
  endSilence(client, silentMs);
  return client;
};
