/** The connection of both examples, from the environment: who asks, with which key, and whom. */
import { readFileSync } from "node:fs";
import { connect, createTokenSigner, type SigilConnection } from "@sigil/client";

const given = (name: string): string => {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} must be set`);
  return value;
};

/** `SIGIL_CA` is a file of certificates; without it there is no TLS, and the server must be on this machine. */
export const openConnection = (): SigilConnection => {
  const ca = process.env["SIGIL_CA"];
  const genesis = process.env["SIGIL_GENESIS"];
  return connect({
    target: given("SIGIL_TARGET"),
    tls: ca === undefined ? "insecure" : { ca: readFileSync(ca) },
    signer: createTokenSigner({
      principal: given("SIGIL_PRINCIPAL"),
      origin: given("SIGIL_ORIGIN"),
      privateKey: readFileSync(given("SIGIL_KEY"), "utf8"),
    }),
    ...(genesis === undefined ? {} : { verifyDecisions: { genesis } }),
  });
};
