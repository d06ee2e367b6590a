/**
 * The network origin of an anonymous caller, for quotas: an IPv4 address, the /64 of an IPv6 address (the usual
 * allocation per subscriber), or one constant for all callers on Unix sockets. Pure. Taken from the connection only,
 * never from caller-controlled data such as forwarding headers.
 */

/** The origin of connections without an address: Unix sockets. */
export const localPeer = "local";

const groupsOf = (text: string): readonly number[] | undefined => {
  const groups = text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  return groups.every((group) => group >= 0 && group <= 0xffff) ? groups : undefined;
};

/** The eight groups of an IPv6 address. Source: RFC 4291 §2.2. */
const parseIpv6 = (address: string): readonly number[] | undefined => {
  const [head = "", tail, ...more] = address.split("::");
  const [first, last] = [groupsOf(head), groupsOf(tail ?? "")];
  if (first === undefined || last === undefined || more.length > 0) return undefined;
  const missing = 8 - first.length - last.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  return [...first, ...Array.from({ length: missing }, () => 0), ...last];
};

const ipv4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** Converts the dotted IPv4 suffix of an IPv6 address to hexadecimal groups. */
const withoutDots = (address: string): string => {
  const start = address.lastIndexOf(":") + 1;
  const bytes = ipv4.exec(address.slice(start))?.slice(1).map(Number);
  if (bytes === undefined) return address;
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  return `${address.slice(0, start)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
};

/** @param address remote address of a connection; undefined for a Unix socket. */
export const peerOf = (address: string | undefined): string => {
  if (address === undefined) return localPeer;
  if (ipv4.test(address)) return address;
  const [text = ""] = address.split("%");
  const groups = parseIpv6(withoutDots(text));
  if (groups === undefined) return localPeer;
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) return [6, 7].flatMap((at) => [(groups[at] ?? 0) >> 8, (groups[at] ?? 0) & 0xff]).join(".");
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(":")}::/64`;
};
