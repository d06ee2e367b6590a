/** A server's target and transport security. Source: gRPC name resolution, "Name Syntax". */
import { credentials, type ChannelCredentials, type ChannelOptions } from "@grpc/grpc-js";

/** PEM bytes or text. */
export type Pem = string | Uint8Array;

export type TlsOptions = {
  /** Certificates to trust instead of the system's. */
  readonly ca?: Pem;
  /** The client's certificate chain; needs `key`. */
  readonly cert?: Pem;
  /** The client's private key; needs `cert`. */
  readonly key?: Pem;
  /** The name to expect in the server's certificate, if not the target's. */
  readonly serverName?: string;
};

const scheme = /^(?:dns|ipv4|ipv6|unix|unix-abstract|passthrough):(?:\/\/[^/]*\/)?/;
const loopbackHost = /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i;

/** Whether the target is on this machine. False if uncertain. */
export const isLoopback = (target: string): boolean => {
  if (/^unix(?:-abstract)?:/.test(target)) return true;
  return target
    .replace(scheme, "")
    .split(",")
    .every((address) => loopbackHost.test(address.replace(/(?<=\]|^[^:]*):\d+$/, "")));
};

const pemBuffer = (pem: Pem | undefined): Buffer | null => (pem === undefined ? null : Buffer.from(pem));

export const channelCredentials = (tls: TlsOptions | "insecure"): ChannelCredentials => {
  if (tls === "insecure") return credentials.createInsecure();
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError("tls.cert and tls.key go together");
  }
  return credentials.createSsl(pemBuffer(tls.ca), pemBuffer(tls.key), pemBuffer(tls.cert));
};

export const nameOptions = (tls: TlsOptions | "insecure"): ChannelOptions => {
  if (tls === "insecure" || tls.serverName === undefined) return {};
  return {
    "grpc.ssl_target_name_override": tls.serverName,
    "grpc.default_authority": tls.serverName,
  };
};

/**
 * grpc-js uses the proxy from `grpc_proxy`, `https_proxy` or `http_proxy` for every channel. Without TLS the proxy
 * could read tokens, and local traffic would leave this machine, so only TLS to another machine may use it. Apply these
 * options after the caller's.
 */
export const proxyOptions = (target: string, tls: TlsOptions | "insecure"): ChannelOptions =>
  tls === "insecure" || isLoopback(target) ? { "grpc.enable_http_proxy": 0 } : {};
