/**
 * A connection to MongoDB. The password comes from a file or the environment, never from an address, and stands in no
 * error and no log; a server that is not this machine is spoken to by TLS with its certificate verified, unless the
 * address says `tls=false`. A server that answers no more is noticed by the driver's heartbeat, whatever was asked of
 * it.
 */
import { MongoClient, MongoError, MongoServerError } from "mongodb";
import { projectionConnectMs } from "../../limits.ts";
import { decodePart, isLoopback } from "../address.ts";
import { guardedBy } from "../fault.ts";

export type MongoAddress = {
  readonly scheme: "mongodb" | "mongodb+srv";
  /** `HOST:PORT`, one or several of a replica set. */
  readonly hosts: readonly string[];
  readonly database: string;
  /** Undefined where the server asks for none. */
  readonly user: string | undefined;
  readonly tls: { readonly kind: "verify"; readonly caFile: string | undefined } | { readonly kind: "off" };
  readonly authSource: string | undefined;
  readonly replicaSet: string | undefined;
};

export type MongoAddressOutcome =
  | { readonly kind: "ok"; readonly address: MongoAddress }
  | { readonly kind: "refused"; readonly rule: string };

const shape = /^(mongodb|mongodb\+srv):\/\/(?:([^@/?]*)@)?([^@/?]+)\/([^/?]+)(?:\?(.*))?$/;
/** What MongoDB allows on every system. */
const databaseShape = /^[^/\\. "$*<>:|?\0]{1,63}$/;
const knownParameters = ["tls", "tlsCAFile", "authSource", "replicaSet"];

const isLocal = (address: string): boolean => isLoopback(address.replace(/:\d+$/, ""));

const refused = (rule: string): MongoAddressOutcome => ({ kind: "refused", rule });

/** `mongodb://user@host:port,host:port/database?tls=false&tlsCAFile=FILE&authSource=NAME&replicaSet=NAME`. */
export const parseMongoAddress = (text: string): MongoAddressOutcome => {
  const [, scheme, userInfo, hosts = "", path = "", query = ""] = shape.exec(text) ?? [];
  if (scheme !== "mongodb" && scheme !== "mongodb+srv") {
    return refused("must be mongodb://USER@HOST:PORT/DATABASE");
  }
  if (userInfo?.includes(":") === true) {
    return refused("must hold no password: put it into a file, or into MONGODB_PASSWORD");
  }
  const [user, database] = [userInfo === undefined ? "" : decodePart(userInfo), decodePart(path)];
  if (user === undefined) return refused("must percent-encode its user as UTF-8");
  if (database === undefined || !databaseShape.test(database)) {
    return refused('must name a database of 1 to 63 characters, without / \\ . " $ * < > : | ? and spaces');
  }
  const parameters = new URLSearchParams(query);
  const unknown = [...parameters.keys()].find((name) => !knownParameters.includes(name));
  if (unknown !== undefined) {
    return refused(`knows no parameter ${unknown}: ${knownParameters.join(", ")} are all`);
  }
  const names = hosts.split(",");
  const tls = parameters.get("tls") ?? String(scheme === "mongodb+srv" || !names.every(isLocal));
  if (tls !== "true" && tls !== "false") return refused("tls must be true or false");
  const caFile = parameters.get("tlsCAFile") ?? undefined;
  if (tls === "false" && caFile !== undefined) return refused("tlsCAFile needs tls=true");
  return {
    kind: "ok",
    address: {
      scheme,
      hosts: names,
      database,
      user: user === "" ? undefined : user,
      tls: tls === "true" ? { kind: "verify", caFile } : { kind: "off" },
      authSource: parameters.get("authSource") ?? undefined,
      replicaSet: parameters.get("replicaSet") ?? undefined,
    },
  };
};

/** For a person: without anything that is secret. */
export const describeMongoAddress = ({ scheme, hosts, database, user }: MongoAddress): string =>
  `${scheme}://${user === undefined ? "" : `${user}@`}${hosts.join(",")}/${database}`;

/** What the driver wrapped: a socket's failure beneath a failed selection of a server. */
const rootCode = (cause: unknown, depth = 0): string | undefined => {
  if (!(cause instanceof Error) || depth > 4) return undefined;
  const { code } = cause as { readonly code?: unknown };
  if (typeof code === "string") return code;
  return rootCode(cause.cause, depth + 1);
};

const codeOf = (cause: unknown): string => {
  if (cause instanceof MongoServerError) return cause.codeName ?? String(cause.code ?? "no code");
  return rootCode(cause) ?? (cause instanceof MongoError ? cause.name : "no code");
};

/** Of a value that it refuses a server prints what it was: that is not for a log. */
const ruleOf = (cause: unknown): string => {
  if (cause instanceof MongoServerError && ["BadValue", "DuplicateKey"].includes(codeOf(cause))) {
    return "the server refused a document";
  }
  return cause instanceof Error ? cause.message : "unknown failure";
};

/** @throws ProjectionFault: databaseFailed, for whatever `work` throws beside faults of a projection. */
export const guarded = guardedBy((cause) => ({ code: codeOf(cause), rule: ruleOf(cause) }));

/**
 * Connected, until disposed of.
 * @param password undefined where the server asks for none.
 * @throws ProjectionFault: databaseFailed.
 */
export const connectMongo = (
  address: MongoAddress,
  password: string | undefined,
  connectMs: number = projectionConnectMs,
): Promise<MongoClient> =>
  guarded(async () => {
    const { scheme, hosts, user, tls, authSource, replicaSet } = address;
    const client = new MongoClient(`${scheme}://${hosts.join(",")}/`, {
      appName: "sigil project",
      tls: tls.kind === "verify",
      ...(tls.kind === "verify" && tls.caFile !== undefined ? { tlsCAFile: tls.caFile } : {}),
      ...(user === undefined ? {} : { auth: { username: user, password: password ?? "" } }),
      ...(user === undefined ? {} : { authSource: authSource ?? "admin" }),
      ...(replicaSet === undefined ? {} : { replicaSet }),
      connectTimeoutMS: connectMs,
      serverSelectionTimeoutMS: connectMs,
      // A cursor on disk everywhere is never ahead of rows that are not: later writes follow earlier ones everywhere.
      writeConcern: { w: "majority", journal: true },
      readPreference: "primary",
      useBigInt64: true,
      promoteBuffers: true,
    });
    try {
      return await client.connect();
    } catch (error) {
      await client.close();
      throw error;
    }
  });
