/** Connections to Kafka: addresses, TLS and SASL SCRAM from files that are read at each connection, and its errors. */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { Admin, findErrorBy, GenericError, type BaseOptions } from "@platformatic/kafka";
import {
  relayConnectMsMax,
  relayKafkaLeaderMs,
  relayKafkaTriesMax,
  relayPublishMsMax,
} from "../../limits.ts";
import { failRelay, isCertificateCode, RelayFault, type RelayError } from "../destination.ts";

export type KafkaConnection = {
  /** `host:port`. */
  readonly servers: readonly string[];
  /** PEM files, empty for none (then the system's authorities); null for no TLS. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | null;
  readonly login:
    | { readonly kind: "none" }
    | {
        readonly kind: "scram";
        readonly mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512";
        readonly user: string;
        readonly passwordPath: string;
      };
};

const readSecret = async (path: string): Promise<Buffer> => {
  try {
    return await readFile(path);
  } catch (cause) {
    return failRelay({ kind: "refused", rule: `cannot read ${path}` }, { cause });
  }
};

const hostOf = (server: string): string => server.slice(0, server.lastIndexOf(":")).replaceAll(/[[\]]/g, "");

const tlsOf = async ({
  tls,
  servers,
}: KafkaConnection): Promise<Pick<BaseOptions, "tls" | "tlsServerName">> => {
  if (tls === null) return {};
  const { ca, cert, key } = tls;
  return {
    tls: {
      ...(ca === "" ? {} : { ca: await readSecret(ca) }),
      ...(cert === "" ? {} : { cert: await readSecret(cert), key: await readSecret(key) }),
    },
    tlsServerName: servers.every((server) => isIP(hostOf(server)) === 0),
  };
};

/** The relay tries again by itself, and reads then what the topic holds. @throws RelayFault if a file is missing. */
export const clientOptions = async (connection: KafkaConnection): Promise<BaseOptions> => {
  const { servers, login } = connection;
  return {
    clientId: "sigil",
    bootstrapBrokers: [...servers],
    connectTimeout: relayConnectMsMax,
    requestTimeout: relayPublishMsMax,
    timeout: relayPublishMsMax,
    retries: relayKafkaTriesMax,
    retryDelay: relayKafkaLeaderMs,
    autocreateTopics: false,
    ...(await tlsOf(connection)),
    ...(login.kind === "none"
      ? {}
      : {
          sasl: {
            mechanism: login.mechanism,
            username: login.user,
            password: (await readSecret(login.passwordPath)).toString("utf8").trim(),
          },
        }),
  };
};

export const withAdmin = async <Result>(
  client: BaseOptions,
  use: (admin: Admin) => Promise<Result>,
): Promise<Result> => {
  const admin = new Admin({ ...client });
  try {
    return await use(admin);
  } finally {
    await admin.close();
  }
};

/** What is behind errors that wrap others. */
const leavesOf = (error: unknown): readonly Error[] => {
  if (!(error instanceof Error)) return [];
  const within: readonly unknown[] = error instanceof AggregateError ? error.errors : [error.cause];
  const leaves = within.flatMap(leavesOf);
  return leaves.length > 0 ? leaves : [error];
};

const codeOf = (error: Error): string => {
  if (error instanceof GenericError && typeof error["apiId"] === "string") return error["apiId"];
  return "code" in error && typeof error.code === "string" ? error.code : "";
};

/** Kafka's names of what failed. */
export const kafkaCodes = (cause: unknown): readonly string[] => leavesOf(cause).map(codeOf);

/** An operator has to change something: permissions, credentials, settings of the topic or the cluster. */
const isSetting = (code: string): boolean =>
  /AUTHORIZATION_FAILED|AUTHENTICATION|SASL|SECURITY_DISABLED|POLICY_VIOLATION|^INVALID_(?:REPLICATION|CONFIG|TOPIC|PARTITIONS|REPLICA_ASSIGNMENT)/.test(
    code,
  );

/** @param what was tried, for people. */
export const kafkaError = (cause: unknown, what: string): RelayError => {
  if (cause instanceof RelayFault) return cause.error;
  const leaves = leavesOf(cause);
  const isAuthentication =
    cause instanceof Error && findErrorBy(cause, "code", "PLT_KFK_AUTHENTICATION") !== null;
  const isRefused =
    isAuthentication || kafkaCodes(cause).some((code) => isSetting(code) || isCertificateCode(code));
  const [leaf] = leaves;
  const code = leaf === undefined ? "" : codeOf(leaf);
  const reason = isAuthentication ? "SASL authentication failed" : (leaf?.message ?? "unknown error");
  const rule = `${what}: ${reason}${code === "" || reason.includes(code) ? "" : ` (${code})`}`;
  return { kind: isRefused ? "refused" : "retryable", rule };
};
