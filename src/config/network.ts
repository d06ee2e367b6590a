/** Addresses and networks in CIDR notation, of IPv4 and IPv6. Source: RFC 4632, RFC 4291 §2.3. */
import { isIP } from "node:net";

/** Whether it is an address, or a network in CIDR notation. */
export const isNetwork = (text: string): boolean => {
  const [address = "", bits, more] = text.split("/");
  const version = isIP(address);
  const bitsMax = version === 6 ? 128 : 32;
  return (
    version !== 0 &&
    more === undefined &&
    (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax))
  );
};
