/**
 * Whether a host call is covered by a module's capabilities. Pure. Runs outside the sandbox process, which may be
 * compromised.
 */
import { readablePrefix, type Capability } from "./limits.ts";
import type { HostRequest } from "./run.ts";

/** Checks only capabilities; the server then authorizes the caller. */
export const isGranted = (request: HostRequest, capabilities: readonly Capability[]): boolean => {
  switch (request.kind) {
    case "trust.check":
      return capabilities.includes("trust.check");
    case "canon.read": {
      const prefix = readablePrefix(capabilities);
      return prefix !== undefined && request.id.startsWith(prefix);
    }
  }
};
