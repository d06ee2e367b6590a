/** Whether a module that runs may ask what it asks. Pure. Kept outside the sandbox process, which could be turned. */
import { readablePrefix, type Capability } from "./limits.ts";
import type { HostRequest } from "./run.ts";

/** By the capabilities alone; the server then asks whether the caller may. */
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
