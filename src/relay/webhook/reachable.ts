/**
 * Which addresses a webhook may reach, checked as a connection resolves its host: the address that was checked is the
 * one connected to, so DNS rebinding gains nothing. Sources: the IANA special-purpose registries of IPv4 and IPv6;
 * cloud metadata services lie within them, but for that of Azure.
 */
import type { LookupAddress } from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** Loopback, private, shared (CGNAT), link-local, metadata, multicast, reserved; and what tunnels IPv4 in IPv6. */
const closedNetworks = `
  0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
  192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
  ::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7
  fe80::/10 fec0::/10 ff00::/8`
  .trim()
  .split(/\s+/);

const familyOf = (address: string): "ipv4" | "ipv6" => (isIP(address) === 6 ? "ipv6" : "ipv4");

/** @param networks addresses, with or without `/bits`. */
const listOf = (networks: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = familyOf(address);
    list.addSubnet(address, Number(bits ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return list;
};

const closed = listOf(closedNetworks);
const loopback = listOf(["127.0.0.0/8", "::1"]);

/** An IPv4-mapped IPv6 address is compared as IPv4, as node:net does. */
const isWithin = (list: BlockList, address: string): boolean =>
  list.check(address.replace(/%.*$/, ""), familyOf(address));

export type Reachable = {
  /** Closed networks that the configuration opens: addresses, with or without `/bits`. */
  readonly opened: readonly string[];
  /** Plain HTTP: nothing else is reached, whatever a name resolves to. */
  readonly isLoopbackOnly: boolean;
};

/** @returns whether a connection may be made to the address. */
export const createGate = ({ opened, isLoopbackOnly }: Reachable): ((address: string) => boolean) => {
  const openedList = listOf(opened);
  return (address) => {
    if (isLoopbackOnly && !isWithin(loopback, address)) return false;
    return !isWithin(closed, address) || isWithin(openedList, address);
  };
};

/** The error that a refused address gives its request. */
export class UnreachableByRule extends Error {
  readonly address: string;
  constructor(address: string) {
    super("the address is not open to webhooks");
    this.address = address;
  }
}

/**
 * Resolves as `lookup` does, and fails if any address is closed. node:net connects to what this answers and resolves no
 * second time.
 */
export const gatedLookup =
  (lookup: LookupFunction, isOpen: (address: string) => boolean): LookupFunction =>
  (hostname, options, callback) =>
    lookup(hostname, options, (error, answer, family) => {
      if (error !== null) return callback(error, answer, family);
      const addresses: readonly Pick<LookupAddress, "address">[] =
        typeof answer === "string" ? [{ address: answer }] : answer;
      const refused = addresses.find(({ address }) => !isOpen(address));
      return refused === undefined
        ? callback(null, answer, family)
        : callback(new UnreachableByRule(refused.address), "", 0);
    });
