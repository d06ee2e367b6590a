/**
 * TLS of the ports for callers: what it is made of, and the credentials that serve it and take another one while they
 * serve.
 */
import type { SecureContextOptions, TlsOptions } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { assert } from "../../errors.ts";

export type Tls = {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Whom to believe about clients; null asks for no client certificate. */
  readonly clientCa: Buffer | null;
  readonly clientCertificate: "optional" | "required";
};

/**
 * What a connection is made with. The version stands here too: a context that is set later knows nothing of the first.
 */
export const contextOf = ({ cert, key, clientCa }: Tls): SecureContextOptions => ({
  cert: [cert],
  key: [key],
  minVersion: "TLSv1.2",
  ...(clientCa === null ? {} : { ca: clientCa }),
});

/** Whether a connection is asked for a certificate, and refused without one that holds. */
const askingOf = ({ clientCa, clientCertificate }: Tls): TlsOptions => ({
  requestCert: clientCa !== null,
  rejectUnauthorized: clientCa !== null && clientCertificate === "required",
  minVersion: "TLSv1.2",
});

/** Of a server of Node's own. */
export const serverOptionsOf = (tls: Tls): TlsOptions => ({ ...contextOf(tls), ...askingOf(tls) });

/** TLS that may ask for a client certificate without insisting; grpc-js's own factory cannot. */
export class TlsCredentials extends ServerCredentials {
  constructor(tls: Tls) {
    super(askingOf(tls), contextOf(tls));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }

  /**
   * For connections from now on; those that are open stay as they are. Their session tickets go with the old context.
   * `tls` must be checked: a context that OpenSSL refuses makes grpc-js drop every new connection.
   */
  renew(tls: Tls): void {
    assert(this.getWatcherCount() > 0, "grpc-js watches its credentials no longer");
    this.updateSecureContextOptions(contextOf(tls));
  }
}
