/** Addresses to listen on: `host:port`, an IPv6 host in brackets; port 0 takes a free one. Pure: nothing is looked up. */

export type Address = { readonly host: string; readonly port: number };

const addressShape = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;
const hostName = /^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$/;
/** What an IPv6 address looks like; the system has the last word. */
const ipv6Shape = /^(?=[^:]*:[^:]*:)[0-9A-Fa-f:.]{2,45}$/;
const loopbackIpv4 = /^127(?:\.\d{1,3}){3}$/;
const portMax = 65_535;

/** @returns undefined when the text is no address. */
export const parseAddress = (text: string): Address | undefined => {
  const match = addressShape.exec(text);
  if (match === null) return undefined;
  const [, bracketed, bare = "", digits] = match;
  const port = Number(digits);
  const isHost = bracketed === undefined ? hostName.test(bare) : ipv6Shape.test(bracketed);
  return isHost && port <= portMax ? { host: bracketed ?? bare, port } : undefined;
};

export const formatAddress = ({ host, port }: Address): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

/** Whether only this machine can reach it. A name other than "localhost" could mean anything. */
export const isLoopback = ({ host }: Address): boolean =>
  host === "localhost" || host === "::1" || loopbackIpv4.test(host);
