/**
 * Listen addresses: `host:port`, an IPv6 host in brackets, port 0 for a free one; or `unix:PATH`, a socket in the file
 * system. Pure: names are not resolved. Source: gRPC name resolution, "Name Syntax".
 */
import { utf8Encode } from "@sigil/core/bytes";

export type TcpAddress = { readonly host: string; readonly port: number };
export type UnixAddress = { readonly path: string };
export type Address = TcpAddress | UnixAddress;

export const isUnix = (address: Address): address is UnixAddress => "path" in address;

const addressShape = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;
const hostName = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;
/** Rough shape of an IPv6 address; the system validates it. */
const ipv6Shape = /^(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{2,45}$/;
const loopbackIpv4 = /^127(?:\.\d{1,3}){3}$/;
const portMax = 65_535;

const unixPrefix = "unix:";
/** `sun_path` of Linux has 108 bytes including the final NUL. */
const unixPathBytesMax = 107;

/** Abstract names (`@…`) are refused: they have no owner or mode, so any local process could take them. */
const parseUnix = (text: string): UnixAddress | undefined => {
  const path = text.slice(unixPrefix.length).replace(/^\/\/(?=\/)/, "");
  const isPath =
    path !== "" && !/^@|^\/\/|[\0?#]|\/$/.test(path) && utf8Encode(path).length <= unixPathBytesMax;
  return isPath ? { path } : undefined;
};

/** @returns undefined if the text is not an address. */
export const parseAddress = (text: string): Address | undefined => {
  if (text.startsWith(unixPrefix)) return parseUnix(text);
  const match = addressShape.exec(text);
  if (match === null) return undefined;
  const [, bracketed, bare = "", digits] = match;
  const port = Number(digits);
  const isHost = bracketed === undefined ? hostName.test(bare) : ipv6Shape.test(bracketed);
  return isHost && port <= portMax ? { host: bracketed ?? bare, port } : undefined;
};

export const formatAddress = (address: Address): string => {
  if (isUnix(address)) return unixPrefix + address.path;
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
};

/** Whether only this machine can reach it. False for names other than "localhost", which may resolve to any address. */
export const isLoopback = (address: Address): boolean => {
  if (isUnix(address)) return true;
  const { host } = address;
  return host === "localhost" || host === "::1" || loopbackIpv4.test(host);
};
