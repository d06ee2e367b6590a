/** TLS of the gRPC port: PEM files in, credentials out. Nothing of a key file ever stands in an error. */
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { fail } from "../record/errors.ts";

export type Tls = {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Whom to believe about clients; null asks for no client certificate. */
  readonly clientCa: Buffer | null;
  readonly clientCertificate: "optional" | "required";
};

/** TLS that may ask for a client certificate without insisting; grpc-js's own factory cannot. */
export class TlsCredentials extends ServerCredentials {
  constructor({ cert, key, clientCa, clientCertificate }: Tls) {
    const asks = clientCa !== null;
    super(
      {
        requestCert: asks,
        rejectUnauthorized: asks && clientCertificate === "required",
        minVersion: "TLSv1.2",
      },
      { cert: [cert], key: [key], ...(asks ? { ca: clientCa } : {}) },
    );
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}

/** Paths of PEM files; empty for none. */
export type TlsPaths = {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
  readonly clientCertificate: Tls["clientCertificate"];
};

const readPem = (key: string, path: string): Buffer => {
  try {
    return readFileSync(path);
  } catch (cause) {
    return fail({ kind: "invalidConfig", key, rule: `cannot read ${path}` }, { cause });
  }
};

/** @returns null without a certificate. @throws invalidConfig naming the file. */
export const readTls = (paths: TlsPaths): Tls | null => {
  if (paths.cert === "") return null;
  const tls: Tls = {
    cert: readPem("tls.cert", paths.cert),
    key: readPem("tls.key", paths.key),
    clientCa: paths.clientCa === "" ? null : readPem("tls.client_ca", paths.clientCa),
    clientCertificate: paths.clientCertificate,
  };
  const { cert, key, clientCa } = tls;
  try {
    createSecureContext({ cert, key, ...(clientCa === null ? {} : { ca: clientCa }) });
  } catch {
    // Without its cause: it may quote the files.
    return fail({ kind: "invalidConfig", key: "tls", rule: "certificate and key are not a PEM pair" });
  }
  return tls;
};
