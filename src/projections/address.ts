/** What addresses of databases have in common. */
import { isIP } from "node:net";

/** Whether only this machine can be meant. False for names other than "localhost". @param host without a port. */
export const isLoopback = (host: string): boolean => {
  const name = host.replace(/^\[(.*)\]$/, "$1");
  return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
};

/** @returns undefined unless it is percent-encoded UTF-8. */
export const decodePart = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
};
