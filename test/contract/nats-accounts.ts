/**
 * An operator of NATS with one account and its users, as `nsc` makes them: the configuration of a server that knows
 * users by their JWTs, and `.creds` files. Source: NATS ADR-14 (JWTs of version 2).
 */
import { createHash } from "node:crypto";
import { nkeys } from "@nats-io/transport-node";

type KeyPair = ReturnType<typeof nkeys.createUser>;

const seconds = (): number => Math.floor(Date.now() / 1000);

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

const claim = (issuer: KeyPair, subject: KeyPair, name: string, nats: object): string => {
  const claims = { iat: seconds(), iss: issuer.getPublicKey(), sub: subject.getPublicKey(), name };
  const jti = createHash("sha256").update(JSON.stringify(claims)).digest("hex");
  const text = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part({ ...claims, jti, nats: { ...nats, version: 2 } })}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString("base64url")}`;
};

/** Limits of an account: none. */
const connections = {
  subs: -1,
  data: -1,
  payload: -1,
  imports: -1,
  exports: -1,
  wildcards: true,
  conn: -1,
  leaf: -1,
};
/** And for JetStream, which the system's account must not have. */
const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

export type NatsAccounts = {
  /** Lines of the server's configuration. */
  readonly settings: string;
  /** The `.creds` file of a new user. */
  readonly creds: () => string;
};

export const createNatsAccounts = (): NatsAccounts => {
  const operator = nkeys.createOperator();
  const [account, system] = [nkeys.createAccount(), nkeys.createAccount()];
  const operatorJwt = claim(operator, operator, "test", { type: "operator" });
  const accountJwt = claim(operator, account, "relays", {
    type: "account",
    limits: { ...connections, ...storage },
  });
  const systemJwt = claim(operator, system, "system", { type: "account", limits: connections });
  return {
    settings: [
      `operator: ${operatorJwt}`,
      "resolver: MEMORY",
      `system_account: ${system.getPublicKey()}`,
      "resolver_preload: {",
      `${account.getPublicKey()}: ${accountJwt}`,
      `${system.getPublicKey()}: ${systemJwt}`,
      "}",
    ].join("\n"),
    creds: () => {
      const user = nkeys.createUser();
      const jwt = claim(account, user, "relay", { type: "user", subs: -1, data: -1, payload: -1 });
      return [
        "-----BEGIN NATS USER JWT-----",
        jwt,
        "------END NATS USER JWT------",
        "",
        "-----BEGIN USER NKEY SEED-----",
        Buffer.from(user.getSeed()).toString(),
        "------END USER NKEY SEED------",
        "",
      ].join("\n");
    },
  };
};
