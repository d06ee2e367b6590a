/** TLS of the gRPC and HTTP ports: its settings, and server credentials that can be renewed while serving. */
import type { SecureContextOptions, TlsOptions } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { assert } from "../../errors.ts";

export type Tls = {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Client CAs; null to request no client certificate. */
  readonly clientCa: Buffer | null;
  readonly clientCertificate: "optional" | "required";
};

/** Options of a secure context. Includes the TLS version, since a context set later does not inherit it. */
export const contextOf = ({ cert, key, clientCa }: Tls): SecureContextOptions => ({
  cert: [cert],
  key: [key],
  minVersion: "TLSv1.2",
  ...(clientCa === null ? {} : { ca: clientCa }),
});

/** Whether a client certificate is requested, and required. */
const askingOf = ({ clientCa, clientCertificate }: Tls): TlsOptions => ({
  requestCert: clientCa !== null,
  rejectUnauthorized: clientCa !== null && clientCertificate === "required",
  minVersion: "TLSv1.2",
});

/** Options for a Node TLS server. */
export const serverOptionsOf = (tls: Tls): TlsOptions => ({ ...contextOf(tls), ...askingOf(tls) });

/** TLS credentials with optional client certificates, which grpc-js's own factory does not support. */
export class TlsCredentials extends ServerCredentials {
  constructor(tls: Tls) {
    super(askingOf(tls), contextOf(tls));
  }

  _equals(other: ServerCredentials): boolean {
    return this === other;
  }

  /**
   * Applies to new connections; open ones are unchanged. Session tickets of the old context become invalid. `tls` must
   * have been checked: with a context that OpenSSL refuses, grpc-js drops every new connection.
   */
  renew(tls: Tls): void {
    assert(this.getWatcherCount() > 0, "grpc-js watches its credentials no longer");
    this.updateSecureContextOptions(contextOf(tls));
  }
}
